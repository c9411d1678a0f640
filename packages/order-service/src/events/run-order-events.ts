import type { Database } from '@zerda/chassis/database/database';
import { runEventsCommand } from '@zerda/chassis/events/events-command';
import { createReceiver } from '@zerda/chassis/events/receiver';
import type { Upstream } from '@zerda/chassis/http-client/upstream';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import type { UserDirectory } from '../domain/place-order.ts';
import { replayProjection } from './replay-projection.ts';
import { userSubscriptions } from './user-subscriptions.ts';

export interface OrderEventsDependencies {
  readonly database: Database;
  readonly userService: Pick<Upstream, 'get'>;
  readonly users: UserDirectory;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** `events …` of order-service: dead letters, and the projection of users. */
export async function runOrderEvents(
  words: readonly string[],
  { database, userService, users, logger, metrics }: OrderEventsDependencies,
): Promise<void> {
  await runEventsCommand({
    service: 'order-service',
    words,
    database,
    // One failure is enough to put a letter back where it was.
    receiver: createReceiver({
      ...{ database, logger, metrics: metrics.events, maxFailures: 1 },
      subscriptions: userSubscriptions,
    }),
    extra: {
      'replay-projection': {
        summary: 'asks user-service for all users, page by page, and makes the projection like them',
        async run() {
          const { known, forgotten } = await replayProjection({ database, userService, users });
          return `${known} users are known; ${forgotten} were gone, and their open orders are cancelled`;
        },
      },
    },
    print: console.log,
  });
}
