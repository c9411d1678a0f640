import { setTimeout as wait } from 'node:timers/promises';
import type { ConsumerView } from '../../../packages/chassis/src/events/testing-nats.ts';
import { ask, type DatabaseName, type Databases } from './databases.ts';

export interface RestOptions {
  readonly databases: Databases;
  /** How far order-service is in hearing; undefined where events travel by HTTP. */
  readonly consumer?: (() => Promise<ConsumerView>) | undefined;
  /** Milliseconds that it may take. */
  readonly withinMs: number;
}

/** Waits until nothing is to be sent or handed out; what is left when that takes too long. */
export async function comeToRest({ databases, consumer, withinMs }: RestOptions): Promise<string[]> {
  const giveUpAt = performance.now() + withinMs;
  const unsent = (name: DatabaseName) =>
    ask(databases[name], ({ rows }) =>
      rows<{ subject: string; attempts: number; wait: number }>(
        `select subject, attempts, extract(epoch from claimed_until - now())::float8 as wait
          from outbox where sent_at is null order by position limit 10`,
      ),
    );
  for (;;) {
    const left: string[] = [];
    for (const name of ['users', 'orders'] as const) {
      for (const row of await unsent(name)) left.push(`not sent by ${name}: ${JSON.stringify(row)}`);
    }
    if (consumer !== undefined) {
      const { pending, inHand } = await consumer();
      if (pending + inHand > 0) left.push(`NATS has ${pending} events to hand out, and ${inHand} in hand`);
    }
    if (left.length === 0 || performance.now() > giveUpAt) return left;
    await wait(200);
  }
}
