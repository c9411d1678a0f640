import type { Database } from '@zerda/chassis/database/database';
import { runEventsCommand } from '@zerda/chassis/events/events-command';
import { createReceiver } from '@zerda/chassis/events/receiver';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { StartupError } from '@zerda/chassis/startup-error';
import { replayProjection, type UserList } from './replay-projection.ts';
import { userSubscriptions } from './user-subscriptions.ts';

export interface OrderEventsDependencies {
  readonly database: Database;
  /** Undefined when there is no secret to ask with. */
  readonly users: UserList | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** `events …` of order-service: dead letters, and the projection of users. */
export async function runOrderEvents(
  words: readonly string[],
  { database, users, logger, metrics }: OrderEventsDependencies,
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
          if (users === undefined)
            throw new StartupError(
              'EVENT_SECRET must be set: user-service is asked by a call signed with it',
              78,
            );
          const { known, forgotten } = await replayProjection({ database, users });
          return `${known} users are known; ${forgotten} were gone, and their open orders are cancelled`;
        },
      },
    },
    print: console.log,
  });
}
