import type { StreamView } from '../../../packages/events/testing/nats.ts';
import { type DatabaseName, type Databases, withConnection } from './databases.ts';
import { type Delivery, readDelivery } from './event-recorder.ts';
import type { Transport } from './test-system.ts';
import type { Write } from './writes.ts';

/** A row, with the column names of the migrations. */
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

/** Change of a row in a committed transaction, as recorded by the triggers. */
export interface RowChange {
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

/** An event in the outbox or in the dead letters of the sender. */
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

export interface DeadLetterRow {
  readonly side: 'sending' | 'receiving';
  readonly event_id: string;
  readonly type: string;
  readonly subject: string;
  readonly error: string;
}

/** Input of the checker: the clients' responses, the contents of the databases, and the delivered events. */
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
  readonly changes: Readonly<Record<DatabaseName, readonly RowChange[]>>;
  readonly events: Readonly<Record<DatabaseName, readonly SentEvent[]>>;
  readonly deadLetters: Readonly<Record<DatabaseName, readonly DeadLetterRow[]>>;
  /** In the order in which events were processed. */
  readonly inbox: readonly InboxRow[];
  readonly inboxSubjects: readonly { readonly subject: string; readonly version: number }[];
  readonly inboxFailures: readonly { readonly event_id: string; readonly error: string }[];
  /** Events in order of delivery: with HTTP those of the event recorder, with NATS those of the stream. */
  readonly deliveries: readonly Delivery[];
  /** Problems outside the databases, such as unexpected exits. */
  readonly incidents: readonly string[];
}

const changes = `select transaction::text as transaction, relation, operation, key, version, state
  from faults.acts order by position`;

const events = `
  select id::text as id, type, subject, (event->>'sequence')::int as version, event->'data'->>'reason' as reason,
    sent_at is not null as sent, attempts, (event->'data'->>'user_id')::int as user_id
  from outbox
  union all
  select event_id, type, subject, (event::json->>'sequence')::int, event::json->'data'->>'reason', false, attempts,
    (event::json->'data'->>'user_id')::int
  from dead_letters where side = 'sending'`;

const deadLetters = 'select side, event_id, type, subject, error from dead_letters';

export interface EvidenceOptions extends Pick<Evidence, 'transport' | 'writes' | 'deliveries' | 'incidents'> {
  /** Databases with the triggers of `instruments.ts`. */
  readonly databases: Databases;
}

/** Reads the contents of both databases. Call it when the system is idle. */
export async function collectEvidence({ databases, ...rest }: EvidenceOptions): Promise<Evidence> {
  const users = await withConnection(databases.users, async ({ rows }) => ({
    users: await rows<UserRow>('select id, name, email, version from users'),
    userCounters: await rows<Evidence['userCounters'][number]>('select slot, users from user_counters'),
    changes: await rows<RowChange>(changes),
    events: await rows<SentEvent>(events),
    deadLetters: await rows<DeadLetterRow>(deadLetters),
  }));
  const orders = await withConnection(databases.orders, async ({ rows }) => ({
    orders: await rows<OrderRow>('select id, user_id, product, total_cents, status, version from orders'),
    orderCounters: await rows<Evidence['orderCounters'][number]>(
      'select slot, status, orders, total_cents from order_counters',
    ),
    userOrderCounters: await rows<Evidence['userOrderCounters'][number]>(
      'select user_id, orders from user_order_counters',
    ),
    knownUsers: await rows<Evidence['knownUsers'][number]>('select user_id, deleted from known_users'),
    changes: await rows<RowChange>(changes),
    events: await rows<SentEvent>(events),
    deadLetters: await rows<DeadLetterRow>(deadLetters),
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
    changes: { users: users.changes, orders: orders.changes },
    events: { users: users.events, orders: orders.events },
    deadLetters: { users: users.deadLetters, orders: orders.deadLetters },
  };
}

/** Reads the events of a stream after a sequence number. */
export async function readDeliveries(stream: StreamView, after: number): Promise<Delivery[]> {
  return (await stream.after(after)).map(readDelivery);
}
