import { openCommandDatabase } from '@zerda/chassis/database/service-database';
import { StartupError } from '@zerda/chassis/startup-error';
import { eventMetrics } from '@zerda/events/event-metrics';
import { eventSecrets } from '@zerda/events/event-variables';
import { runEventsCommand } from '@zerda/events/events-command';
import { createReceiver } from '@zerda/events/receiver';
import { createSignedUserList } from '../clients/signed-user-list.ts';
import { openUserService } from '../clients/user-service.ts';
import type { OrderServiceProcess } from '../config.ts';
import { databaseSchema } from '../database-schema.ts';
import { replayProjection } from '../domain/replay-projection.ts';
import { userSubscriptions } from '../events/user-subscriptions.ts';
import { createUserProjection } from '../store/user-projection.ts';

/** Runs the `events` command of order-service: dead letters and the projection of users. */
export async function events(service: OrderServiceProcess, args: readonly string[]): Promise<void> {
  const { config, logger, audit, metrics } = service;
  const database = await openCommandDatabase({ ...service, ...databaseSchema });
  await runEventsCommand({
    service: service.service,
    args,
    database,
    audit,
    // A dead letter that fails again returns to the dead letters after the first failure.
    receiver: createReceiver({
      database,
      logger,
      metrics: eventMetrics(metrics.registry),
      maxFailures: 1,
      subscriptions: userSubscriptions,
    }),
    extra: {
      'replay-projection': {
        action: 'projection.replay',
        summary: 'reads all users from user-service and synchronizes the projection with them',
        async run() {
          const secrets = eventSecrets(config);
          if (secrets.length === 0)
            throw new StartupError(
              'EVENT_SECRET is not set. Set it to the value that user-service uses; it signs the calls.',
              78,
            );
          const userService = openUserService(service, config.USER_SERVICE_MANAGEMENT_URL);
          const users = createSignedUserList({ userService, secrets });
          const projection = createUserProjection(database);
          const { knownUsers, deletedUsers } = await replayProjection({ projection, users });
          return `${knownUsers} users are known; ${deletedUsers} were deleted and their open orders canceled`;
        },
      },
    },
    print: console.log,
  });
}
