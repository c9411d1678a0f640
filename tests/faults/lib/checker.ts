import type { Evidence, RowChange, SentEvent } from './evidence.ts';
import { isAcknowledged, type Write } from './writes.ts';

/** Invariants that must hold after all faults have ended. */
export const rules = {
  'write-lost': 'every acknowledged write is stored',
  'write-twice': 'no write is applied twice',
  'event-missing': 'each version of a user or order has exactly one event, written in its transaction',
  'event-unsent': 'every event in an outbox is sent',
  'event-lost': 'every event has reached every consumer or is a dead letter with a reason',
  'event-twice': 'no event is applied twice, or both applied and dead-lettered',
  'effect-apart': 'an effect and its inbox row are written in one transaction',
  'effect-missing': 'every event that the inbox records as applied has its effect',
  'order-broken': 'events of a subject arrive in order',
  'version-back': 'the applied version of a subject never decreases',
  'counter-wrong': 'counters equal a recount',
  'order-of-deleted-user':
    'a deleted user has no open orders, and no other user has orders canceled by the saga',
  incident: 'no process exits unexpectedly, every write gets a response, and the system becomes idle',
} as const;

export type Rule = keyof typeof rules;

/** A violated rule, with the rows that show it. */
export interface Violation {
  readonly rule: Rule;
  readonly text: string;
}

type Check = (evidence: Evidence) => Iterable<Violation>;

/** Checks the evidence of a seed against all rules. */
export function findViolations(evidence: Evidence): Violation[] {
  return [
    checkWrites,
    checkUniqueness,
    checkEvents,
    checkOutbox,
    checkDelivery,
    checkEffects,
    checkProjection,
    checkOrder,
    checkVersions,
    checkCounters,
    checkSaga,
    checkIncidents,
  ].flatMap((check: Check) => [...check(evidence)]);
}

/** Number of orders that one transaction of the saga cancels, as in order-service. */
const sagaBatchSize = 100;

const toJson = (value: unknown): string => JSON.stringify(value);

function groupBy<Key, Value>(values: Iterable<Value>, keyOf: (value: Value) => Key): Map<Key, Value[]> {
  const groups = new Map<Key, Value[]>();
  for (const value of values) {
    const key = keyOf(value);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [value]);
    else group.push(value);
  }
  return groups;
}

const changesOf = (changes: readonly RowChange[], relation: 'users' | 'orders'): RowChange[] =>
  changes.filter((change) => change.relation === relation);

/** The version of every acknowledged write was stored as acknowledged. */
function* checkWrites({ writes, changes, users, events }: Evidence): Iterable<Violation> {
  const userChanges = groupBy(changesOf(changes.users, 'users'), ({ key }) => key);
  const orderChanges = groupBy(changesOf(changes.orders, 'orders'), ({ key }) => key);
  const present = new Set(users.map(({ id }) => id));
  const deleted = new Set(
    events.users.filter(({ type }) => type.endsWith('user.deleted.v1')).map(({ subject }) => subject),
  );

  function isStored(write: Write): boolean {
    const { kind, mark, target, status, ifMatch, response } = write;
    const { id, version, orderStatus } = response ?? {};
    const findVersion = (changes: Map<string, RowChange[]>, rowId: number | undefined) =>
      changes
        .get(String(rowId))
        ?.find((change) => change.version === version && change.operation !== 'delete');
    if (kind === 'create-user') return findVersion(userChanges, id)?.state?.name === mark && version === 1;
    if (kind === 'update-user') {
      return (
        findVersion(userChanges, target)?.state?.name === mark &&
        (ifMatch === undefined || version === ifMatch + 1)
      );
    }
    if (kind === 'delete-user') return !present.has(target ?? 0) && deleted.has(`users/${target}`);
    if (kind === 'place-order') {
      const order = findVersion(orderChanges, id)?.state;
      return order?.product === mark && order?.user_id === target && version === 1;
    }
    const changed = findVersion(orderChanges, target)?.state;
    return changed?.status === (status ?? 'cancelled') && changed?.status === orderStatus;
  }
  for (const write of writes) {
    if (isAcknowledged(write) && !isStored(write)) yield { rule: 'write-lost', text: toJson(write) };
  }
  // The table must equal the last recorded state. A row lost in a crash differs from it.
  const last = new Map(changesOf(changes.users, 'users').map((change) => [change.key, change]));
  for (const [key, change] of last) {
    if ((change.operation === 'delete') === present.has(Number(key))) {
      yield {
        rule: 'write-lost',
        text: `the row of user ${key} differs from its last recorded state: ${toJson(change)}`,
      };
    }
  }
}

/** Each mark belongs to at most one user or order, despite retries, and no valid write was rejected. */
function* checkUniqueness({ writes, changes, orders, users }: Evidence): Iterable<Violation> {
  const inserts = [
    ...changesOf(changes.users, 'users').filter(({ operation }) => operation === 'insert'),
    ...changesOf(changes.orders, 'orders').filter(({ operation }) => operation === 'insert'),
  ];
  const byMark = groupBy(inserts, ({ state }) => state?.product ?? state?.name);
  for (const [mark, rows] of byMark) {
    if (rows.length > 1) yield { rule: 'write-twice', text: `${mark}: ${toJson(rows)}` };
  }
  for (const [product, rows] of groupBy(orders, ({ product }) => product)) {
    if (rows.length > 1) yield { rule: 'write-twice', text: `${product}: ${toJson(rows)}` };
  }
  for (const [email, rows] of groupBy(users, ({ email }) => email)) {
    if (rows.length > 1) yield { rule: 'write-twice', text: `${email}: ${toJson(rows)}` };
  }
  for (const write of writes) {
    // The address is unique, so only a lost acknowledgment of this write can explain another response.
    if (write.kind === 'create-user' && write.response !== undefined && !isAcknowledged(write)) {
      yield { rule: 'write-lost', text: `rejected without a cause: ${toJson(write)}` };
    }
  }
}

/** Each version has one event, written in the transaction of the row, and no event lacks a row. */
function* checkEvents({ changes, events }: Evidence): Iterable<Violation> {
  for (const name of ['users', 'orders'] as const) {
    const byId = new Map(events[name].map((event) => [event.id, event]));
    const eventRows = groupBy(
      changes[name].filter(({ relation }) => relation === 'outbox'),
      (change) => {
        const subject = byId.get(change.key)?.subject ?? `missing event ${change.key}`;
        return `${subject} ${change.version} ${change.transaction}`;
      },
    );
    for (const change of changesOf(changes[name], name)) {
      const key = `${name}/${change.key} ${change.version} ${change.transaction}`;
      const count = eventRows.get(key)?.length ?? 0;
      if (count !== 1) yield { rule: 'event-missing', text: `${count} events of ${key}` };
      eventRows.delete(key);
    }
    for (const key of eventRows.keys()) yield { rule: 'event-missing', text: `event without a row: ${key}` };
  }
}

function* checkOutbox({ events, deadLetters }: Evidence): Iterable<Violation> {
  for (const name of ['users', 'orders'] as const) {
    const deadLetterIds = new Set(deadLetters[name].map(({ event_id }) => event_id));
    for (const event of events[name]) {
      if (!event.sent && !deadLetterIds.has(event.id)) yield { rule: 'event-unsent', text: toJson(event) };
    }
    for (const deadLetter of deadLetters[name]) {
      if (deadLetter.error.trim() === '')
        yield { rule: 'event-lost', text: `no reason: ${toJson(deadLetter)}` };
      // No sink rejects a valid event permanently.
      if (deadLetter.side === 'sending')
        yield { rule: 'event-lost', text: `rejected by a sink: ${toJson(deadLetter)}` };
    }
  }
}

function* checkDelivery({
  events,
  deadLetters,
  inbox,
  inboxFailures,
  deliveries,
}: Evidence): Iterable<Violation> {
  const deliveredIds = new Set(deliveries.map(({ id }) => id));
  for (const event of [...events.users, ...events.orders]) {
    if (!deliveredIds.has(event.id))
      yield { rule: 'event-lost', text: `not delivered to the event recorder: ${toJson(event)}` };
  }
  const inboxRows = groupBy(inbox, ({ event_id }) => event_id);
  const deadLetterIds = new Set(
    deadLetters.orders.filter(({ side }) => side === 'receiving').map(({ event_id }) => event_id),
  );
  for (const event of events.users) {
    const rowCount = inboxRows.get(event.id)?.length ?? 0;
    if (rowCount === 0 && !deadLetterIds.has(event.id)) {
      yield { rule: 'event-lost', text: `not delivered to order-service: ${toJson(event)}` };
    }
    if (rowCount > 1) yield { rule: 'event-twice', text: `${rowCount} inbox rows of ${toJson(event)}` };
    if (rowCount > 0 && deadLetterIds.has(event.id)) {
      yield { rule: 'event-twice', text: `processed and dead-lettered: ${toJson(event)}` };
    }
  }
  for (const { event_id, error } of inboxFailures) {
    if (inboxRows.has(event_id)) {
      yield { rule: 'event-twice', text: `failed after it was processed: ${event_id}: ${error}` };
    }
  }
  const sentIds = new Set(events.users.map(({ id }) => id));
  for (const row of inbox) {
    if (!sentIds.has(row.event_id))
      yield { rule: 'event-missing', text: `received but never written: ${toJson(row)}` };
  }
}

/** Each effect is in the transaction of one inbox row, or of a new order. */
function* checkEffects({ changes, inbox, events }: Evidence): Iterable<Violation> {
  const applied = new Map(inbox.map((row) => [row.event_id, row.applied]));
  const bySaga = new Set(events.orders.filter(({ reason }) => reason === 'user_deleted').map(({ id }) => id));
  const transactions = groupBy(changes.orders, ({ transaction }) => transaction);
  for (const rows of transactions.values()) {
    const effects = rows.filter(({ relation }) => relation === 'known_users').length;
    const inboxRows = rows.filter(
      ({ relation, key }) => relation === 'inbox' && applied.get(key) === true,
    ).length;
    const placed = rows.some(({ relation, operation }) => relation === 'orders' && operation === 'insert');
    const cancelled = rows.filter(({ relation, key }) => relation === 'outbox' && bySaga.has(key)).length;
    if (placed) continue;
    if (effects === 1 && inboxRows === 0 && cancelled === sagaBatchSize) continue;
    if (effects !== inboxRows || (cancelled > 0 && inboxRows === 0)) {
      yield {
        rule: 'effect-apart',
        text: `${effects} effects and ${inboxRows} inbox rows in one transaction: ${toJson(rows)}`,
      };
    }
  }
}

/** The table known_users of order-service has the effects of all applied events. */
function* checkProjection({ inbox, knownUsers, events }: Evidence): Iterable<Violation> {
  const byId = new Map(events.users.map((event) => [event.id, event]));
  const known = new Map(knownUsers.map(({ user_id, deleted }) => [`users/${user_id}`, deleted]));
  for (const row of inbox) {
    const event = byId.get(row.event_id);
    if (event === undefined || !row.applied) continue;
    const deletes = isDeletion(event);
    const deleted = known.get(row.subject);
    if (deleted === undefined || (deletes && !deleted)) {
      yield {
        rule: 'effect-missing',
        text: `${event.type} of ${row.subject} is applied, deleted: ${deleted}`,
      };
    }
  }
}

const isDeletion = ({ type }: SentEvent): boolean => type === 'zerda.user.deleted.v1';

/** The first deliveries of a subject's versions are in order for each consumer. */
function* checkOrder({ deliveries, inbox, changes, transport }: Evidence): Iterable<Violation> {
  const seen = new Set<string>();
  const newest = new Map<string, number>();
  for (const { id, subject, version } of deliveries) {
    if (seen.has(id)) continue;
    seen.add(id);
    const before = newest.get(subject) ?? 0;
    if (version < before) {
      yield { rule: 'order-broken', text: `${subject}: version ${version} was sent after ${before}` };
    }
    newest.set(subject, Math.max(before, version));
  }
  // NATS delivers a later event while a failed one waits. By HTTP, a later event overtakes only a dead-lettered one.
  if (transport === 'nats') return;
  const deadLetterIds = new Set(
    changes.orders.filter(({ relation }) => relation === 'dead_letters').map(({ key }) => key),
  );
  for (const row of inbox) {
    if (!row.applied && !deadLetterIds.has(row.event_id)) {
      yield { rule: 'order-broken', text: `arrived after a newer version: ${toJson(row)}` };
    }
  }
}

function* checkVersions({ inbox, inboxSubjects }: Evidence): Iterable<Violation> {
  const newest = new Map<string, number>();
  for (const row of inbox) {
    const before = newest.get(row.subject) ?? 0;
    if (row.applied && row.version <= before) {
      yield { rule: 'version-back', text: `${toJson(row)} was applied after version ${before}` };
    }
    if (!row.applied && row.version >= before) {
      yield { rule: 'version-back', text: `${toJson(row)} was not applied, although newer than ${before}` };
    }
    if (row.applied) newest.set(row.subject, Math.max(before, row.version));
  }
  for (const { subject, version } of inboxSubjects) {
    const applied = newest.get(subject) ?? 0;
    if (version !== applied) {
      yield { rule: 'version-back', text: `${subject} is at version ${version}, but ${applied} was applied` };
    }
  }
}

function* checkCounters({
  users,
  orders,
  userCounters,
  orderCounters,
  userOrderCounters,
}: Evidence): Iterable<Violation> {
  const pairs: readonly (readonly [
    name: string,
    counted: Map<string, string>,
    recount: Map<string, string>,
  ])[] = [
    [
      'users by slot',
      new Map(userCounters.map(({ slot, users }) => [`${slot}`, `${users}`])),
      recount(users, ({ id }) => `${id % 16}`),
    ],
    [
      'orders by slot and status',
      new Map(
        orderCounters.map(({ slot, status, orders, total_cents }) => [
          `${slot} ${status}`,
          `${orders}, ${total_cents} cents`,
        ]),
      ),
      recount(
        orders,
        ({ id, status }) => `${id % 16} ${status}`,
        (rows) => `${rows.length}, ${rows.reduce((sum, { total_cents }) => sum + total_cents, 0)} cents`,
      ),
    ],
    [
      'orders by user',
      new Map(userOrderCounters.map(({ user_id, orders }) => [`${user_id}`, `${orders}`])),
      recount(orders, ({ user_id }) => `${user_id}`),
    ],
  ];
  for (const [name, counted, recounted] of pairs) {
    for (const key of new Set([...counted.keys(), ...recounted.keys()])) {
      const [actual, expected] = [counted.get(key) ?? '0', recounted.get(key) ?? '0'];
      if (actual.replace(/^0, 0 cents$/, '0') !== expected) {
        yield { rule: 'counter-wrong', text: `${name}, ${key}: ${actual}, but a recount gives ${expected}` };
      }
    }
  }
}

function recount<Row>(
  rows: readonly Row[],
  keyOf: (row: Row) => string,
  format: (rows: readonly Row[]) => string = (group) => `${group.length}`,
): Map<string, string> {
  return new Map([...groupBy(rows, keyOf)].map(([key, group]) => [key, format(group)]));
}

function* checkSaga({ events, orders }: Evidence): Iterable<Violation> {
  const deleted = new Set(events.users.filter(isDeletion).map(({ subject }) => subject));
  for (const row of orders) {
    if (deleted.has(`users/${row.user_id}`) && ['pending', 'processing'].includes(row.status)) {
      yield { rule: 'order-of-deleted-user', text: toJson(row) };
    }
  }
  for (const event of events.orders) {
    if (event.reason === 'user_deleted' && !deleted.has(`users/${event.user_id}`)) {
      yield { rule: 'order-of-deleted-user', text: `the user is not deleted: ${toJson(event)}` };
    }
  }
}

function* checkIncidents({ incidents, writes }: Evidence): Iterable<Violation> {
  for (const text of incidents) yield { rule: 'incident', text };
  for (const write of writes) {
    if (write.response === undefined) yield { rule: 'incident', text: `no response: ${toJson(write)}` };
    else if (unexpected.has(write.response.status))
      yield { rule: 'incident', text: `rejected: ${toJson(write)}` };
  }
}

/** Statuses that reject a request as malformed. All writes of the clients are valid. */
const unexpected = new Set([400, 401, 403, 405, 413, 415]);
