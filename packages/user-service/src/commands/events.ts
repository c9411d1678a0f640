import { openCommandDatabase } from '@zerda/chassis/database/service-database';
import { runEventsCommand } from '@zerda/events/events-command';
import type { UserServiceProcess } from '../config.ts';
import { databaseSchema } from '../database-schema.ts';

/** Runs the `events` command of user-service: dead letters. */
export async function events(service: UserServiceProcess, args: readonly string[]): Promise<void> {
  const database = await openCommandDatabase({ ...service, ...databaseSchema });
  const { service: name, audit } = service;
  await runEventsCommand({ service: name, args, database, audit, print: console.log });
}
