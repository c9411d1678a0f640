import type { StreamView } from '../../../packages/chassis/src/events/testing-nats.ts';
import { ask, type DatabaseName, type Databases } from './databases.ts';
import type { Transport } from './stage.ts';
import { type Delivery, readDelivery } from './witness.ts';
import type { Write } from './writes.ts';

/** What a row says, with its names as the migrations have them. */
interface UserRow {
  readonly id: number;
  readonly name: string;
  readonly email: string;
  readonly version: number;
}

interface OrderRow {
  readonly id: number;
  readonly user_id: number;
  readonly product: string;
  readonly total_cents: number;
  readonly status: string;
  readonly version: number;
}

/** What one committed transaction did to one row, as the triggers have recorded it. */
export interface Act {
  readonly transaction: string;
  readonly relation:
    | 'users'
    | 'orders'
    | 'outbox'
    | 'dead_letters'
    | 'known_users'
    | 'inbox'
    | 'inbox_subjects'
    | 'inbox_failures';
  readonly operation: 'insert' | 'update' | 'delete' | 'effect';
  readonly key: string;
  readonly version: number;
  readonly state: (Partial<UserRow> & Partial<OrderRow>) | null;
}

/** An event that was to be sent, from the outbox or, when it was given up, the dead letters. */
export interface SentEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly version: number;
  readonly reason: string | null;
  readonly sent: boolean;
  readonly attempts: number;
  readonly user_id: number | null;
}

export interface InboxRow {
  readonly event_id: string;
  readonly subject: string;
  readonly version: number;
  readonly applied: boolean;
}

export interface LetterRow {
  readonly side: 'sending' | 'receiving';
  readonly event_id: string;
  readonly type: string;
  readonly subject: string;
  readonly error: string;
}

/** Everything that a checker judges by: what clients were told, what the stores have, what came to the witness. */
export interface Evidence {
  readonly transport: Transport;
  readonly writes: readonly Write[];
  readonly users: readonly UserRow[];
  readonly orders: readonly OrderRow[];
  readonly userCounters: readonly { readonly slot: number; readonly users: number }[];
  readonly orderCounters: readonly {
    readonly slot: number;
    readonly status: string;
    readonly orders: number;
    readonly total_cents: number;
  }[];
  readonly userOrderCounters: readonly { readonly user_id: number; readonly orders: number }[];
  readonly knownUsers: readonly { readonly user_id: number; readonly deleted: boolean }[];
  readonly acts: Readonly<Record<DatabaseName, readonly Act[]>>;
  readonly events: Readonly<Record<DatabaseName, readonly SentEvent[]>>;
  readonly letters: Readonly<Record<DatabaseName, readonly LetterRow[]>>;
  /** In the order in which events were dealt with. */
  readonly inbox: readonly InboxRow[];
  readonly inboxSubjects: readonly { readonly subject: string; readonly version: number }[];
  readonly inboxFailures: readonly { readonly event_id: string; readonly error: string }[];
  /** By HTTP what came to the witness, by NATS what the stream has; in that order. */
  readonly deliveries: readonly Delivery[];
  /** What was seen to go wrong beside the stores. */
  readonly incidents: readonly string[];
}

const acts = `select transaction::text as transaction, relation, operation, key, version, state
  from faults.acts order by position`;

const events = `
  select id::text as id, type, subject, (event->>'sequence')::int as version, event->'data'->>'reason' as reason,
    sent_at is not null as sent, attempts, (event->'data'->>'user_id')::int as user_id
  from outbox
  union all
  select event_id, type, subject, (event::json->>'sequence')::int, event::json->'data'->>'reason', false, attempts,
    (event::json->'data'->>'user_id')::int
  from dead_letters where side = 'sending'`;

const letters = 'select side, event_id, type, subject, error from dead_letters';

export interface GatherOptions extends Pick<Evidence, 'transport' | 'writes' | 'deliveries' | 'incidents'> {
  /** With the instruments in them. */
  readonly databases: Databases;
}

/** Reads what the stores have, when nothing changes any more. */
export async function gather({ databases, ...rest }: GatherOptions): Promise<Evidence> {
  const users = await ask(databases.users, async ({ rows }) => ({
    users: await rows<UserRow>('select id, name, email, version from users'),
    userCounters: await rows<Evidence['userCounters'][number]>('select slot, users from user_counters'),
    acts: await rows<Act>(acts),
    events: await rows<SentEvent>(events),
    letters: await rows<LetterRow>(letters),
  }));
  const orders = await ask(databases.orders, async ({ rows }) => ({
    orders: await rows<OrderRow>('select id, user_id, product, total_cents, status, version from orders'),
    orderCounters: await rows<Evidence['orderCounters'][number]>(
      'select slot, status, orders, total_cents from order_counters',
    ),
    userOrderCounters: await rows<Evidence['userOrderCounters'][number]>(
      'select user_id, orders from user_order_counters',
    ),
    knownUsers: await rows<Evidence['knownUsers'][number]>('select user_id, deleted from known_users'),
    acts: await rows<Act>(acts),
    events: await rows<SentEvent>(events),
    letters: await rows<LetterRow>(letters),
    inbox: await rows<InboxRow>('select event_id, subject, version, applied from inbox order by position'),
    inboxSubjects: await rows<Evidence['inboxSubjects'][number]>(
      'select subject, version from inbox_subjects',
    ),
    inboxFailures: await rows<Evidence['inboxFailures'][number]>(
      'select event_id, error from inbox_failures',
    ),
  }));
  return {
    ...rest,
    ...users,
    ...orders,
    acts: { users: users.acts, orders: orders.acts },
    events: { users: users.events, orders: orders.events },
    letters: { users: users.letters, orders: orders.letters },
  };
}

/** What a stream has after the message of that number: by NATS, these are the deliveries. */
export async function readDeliveries(stream: StreamView, after: number): Promise<Delivery[]> {
  return (await stream.after(after)).map(readDelivery);
}
