import { openCommandDatabase } from '@zerda/chassis/database/service-database';
import { eventMetrics } from '@zerda/events/event-metrics';
import { runEventsCommand } from '@zerda/events/events-command';
import { createReceiver } from '@zerda/events/receiver';
import type { SampleServiceProcess } from '../config.ts';
import { databaseSchema } from '../database-schema.ts';
import { userSubscriptions } from '../events/user-subscriptions.ts';

/** Runs the `events` command of sample-service: dead letters. */
export async function events(service: SampleServiceProcess, args: readonly string[]): Promise<void> {
  const database = await openCommandDatabase({ ...service, ...databaseSchema });
  const { service: name, audit } = service;
  // A dead letter that fails again returns to the dead letters after the first failure.
  const receiver = createReceiver({
    database,
    logger: service.logger,
    metrics: eventMetrics(service.metrics.registry),
    maxFailures: 1,
    subscriptions: userSubscriptions,
  });
  await runEventsCommand({ service: name, args, database, audit, receiver, print: console.log });
}
