import { setTimeout as wait } from 'node:timers/promises';
import type { StreamView } from '../../../packages/events/testing/nats.ts';
import { type DatabaseName, type Databases, withConnection } from './databases.ts';

export interface IdleOptions {
  readonly databases: Databases;
  /** Reads the consumer of order-service; undefined with HTTP. */
  readonly consumer?: (() => ReturnType<StreamView['consumer']>) | undefined;
  /** Maximum milliseconds to wait. */
  readonly withinMs: number;
}

/** Waits until all events are sent and delivered. Returns descriptions of the remaining ones after `withinMs`, otherwise nothing. */
export async function waitUntilIdle({ databases, consumer, withinMs }: IdleOptions): Promise<string[]> {
  const giveUpAt = performance.now() + withinMs;
  const unsent = (name: DatabaseName) =>
    withConnection(databases[name], ({ rows }) =>
      rows<{ subject: string; attempts: number; wait: number }>(
        `select subject, attempts, extract(epoch from claimed_until - now())::float8 as wait
          from outbox where sent_at is null order by position limit 10`,
      ),
    );
  for (;;) {
    const remaining: string[] = [];
    for (const name of ['users', 'orders'] as const) {
      for (const row of await unsent(name)) remaining.push(`not sent by ${name}: ${JSON.stringify(row)}`);
    }
    if (consumer !== undefined) {
      const { pending, ackPending } = await consumer();
      if (pending + ackPending > 0)
        remaining.push(`NATS has ${pending} undelivered and ${ackPending} unacknowledged events`);
    }
    if (remaining.length === 0 || performance.now() > giveUpAt) return remaining;
    await wait(200);
  }
}
