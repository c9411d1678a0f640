import type { Act, Evidence, SentEvent } from './evidence.ts';
import { isAcknowledged, type Write } from './writes.ts';

/** What must hold after everything has healed. */
export const rules = {
  'write-lost': 'a write that was acknowledged is there',
  'write-twice': 'nothing that was asked for once was done twice',
  'event-missing': 'each version of a thing has exactly one event, written in its transaction',
  'event-unsent': 'nothing is left in an outbox that was not sent',
  'event-lost': 'every event has reached every consumer, or lies in the dead letters with a reason',
  'event-twice': 'no event has an effect twice, and none was both dealt with and given up',
  'effect-apart': 'an effect and its note in the inbox are one transaction',
  'effect-missing': 'what was noted as applied has had its effect',
  'order-broken': 'events of one subject come in their order',
  'version-back': 'what is applied of a subject never goes back',
  'counter-wrong': 'counters are what a recount gives',
  'order-of-deleted-user': 'no order of a deleted user is open, and none was cancelled for one who is not',
  incident: 'no process ends by itself, every write gets an answer, everything comes to rest',
} as const;

export type Rule = keyof typeof rules;

/** Something that does not hold, with what shows it. */
export interface Violation {
  readonly rule: Rule;
  readonly text: string;
}

type Check = (evidence: Evidence) => Iterable<Violation>;

/** Holds everything that is left of a seed against the rules. */
export function check(evidence: Evidence): Violation[] {
  return [
    writes,
    marks,
    events,
    sent,
    reached,
    effects,
    projection,
    order,
    versions,
    counters,
    saga,
    incidents,
  ].flatMap((one: Check) => [...one(evidence)]);
}

/** Orders that one transaction of the saga cancels, as order-service has it. */
const chunk = 100;

const show = (value: unknown): string => JSON.stringify(value);

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

const changesOf = (acts: readonly Act[], relation: 'users' | 'orders'): Act[] =>
  acts.filter((act) => act.relation === relation);

/** Every acknowledgement is true: the version that it told of was made, as it told. */
function* writes({ writes, acts, users, events }: Evidence): Iterable<Violation> {
  const userActs = groupBy(changesOf(acts.users, 'users'), ({ key }) => key);
  const orderActs = groupBy(changesOf(acts.orders, 'orders'), ({ key }) => key);
  const present = new Set(users.map(({ id }) => id));
  const deleted = new Set(
    events.users.filter(({ type }) => type.endsWith('user.deleted.v1')).map(({ subject }) => subject),
  );

  function holds(write: Write): boolean {
    const { kind, mark, target, status, ifMatch, answer } = write;
    const { id, version, orderStatus } = answer ?? {};
    const made = (acts: Map<string, Act[]>, of: number | undefined) =>
      acts.get(String(of))?.find((act) => act.version === version && act.operation !== 'delete');
    if (kind === 'create-user') return made(userActs, id)?.state?.name === mark && version === 1;
    if (kind === 'update-user') {
      return (
        made(userActs, target)?.state?.name === mark && (ifMatch === undefined || version === ifMatch + 1)
      );
    }
    if (kind === 'delete-user') return !present.has(target ?? 0) && deleted.has(`users/${target}`);
    if (kind === 'place-order') {
      const order = made(orderActs, id)?.state;
      return order?.product === mark && order?.user_id === target && version === 1;
    }
    const changed = made(orderActs, target)?.state;
    return changed?.status === (status ?? 'cancelled') && changed?.status === orderStatus;
  }
  for (const write of writes) {
    if (isAcknowledged(write) && !holds(write)) yield { rule: 'write-lost', text: show(write) };
  }
  // What is in the table is what was last recorded: a row that a crash has taken away would show here.
  const last = new Map(changesOf(acts.users, 'users').map((act) => [act.key, act]));
  for (const [key, act] of last) {
    if ((act.operation === 'delete') === present.has(Number(key))) {
      yield { rule: 'write-lost', text: `the row of user ${key} is not as it was left: ${show(act)}` };
    }
  }
}

/** Each mark is one user or one order at most, whatever was repeated; none of what was refused for its own sake. */
function* marks({ writes, acts, orders, users }: Evidence): Iterable<Violation> {
  const made = [
    ...changesOf(acts.users, 'users').filter(({ operation }) => operation === 'insert'),
    ...changesOf(acts.orders, 'orders').filter(({ operation }) => operation === 'insert'),
  ];
  const byMark = groupBy(made, ({ state }) => state?.product ?? state?.name);
  for (const [mark, rows] of byMark) {
    if (rows.length > 1) yield { rule: 'write-twice', text: `${mark}: ${show(rows)}` };
  }
  for (const [product, rows] of groupBy(orders, ({ product }) => product)) {
    if (rows.length > 1) yield { rule: 'write-twice', text: `${product}: ${show(rows)}` };
  }
  for (const [email, rows] of groupBy(users, ({ email }) => email)) {
    if (rows.length > 1) yield { rule: 'write-twice', text: `${email}: ${show(rows)}` };
  }
  for (const write of writes) {
    // Nobody else uses this address: only an own write that was answered otherwise can have taken it.
    if (write.kind === 'create-user' && write.answer !== undefined && !isAcknowledged(write)) {
      yield { rule: 'write-lost', text: `refused with no cause: ${show(write)}` };
    }
  }
}

/** An event for each version, in the transaction that made it, and none without. */
function* events({ acts, events }: Evidence): Iterable<Violation> {
  for (const name of ['users', 'orders'] as const) {
    const byId = new Map(events[name].map((event) => [event.id, event]));
    const announced = groupBy(
      acts[name].filter(({ relation }) => relation === 'outbox'),
      (act) => {
        const subject = byId.get(act.key)?.subject ?? `lost event ${act.key}`;
        return `${subject} ${act.version} ${act.transaction}`;
      },
    );
    for (const act of changesOf(acts[name], name)) {
      const key = `${name}/${act.key} ${act.version} ${act.transaction}`;
      const found = announced.get(key)?.length ?? 0;
      if (found !== 1) yield { rule: 'event-missing', text: `${found} events of ${key}` };
      announced.delete(key);
    }
    for (const key of announced.keys()) yield { rule: 'event-missing', text: `nothing was done for ${key}` };
  }
}

function* sent({ events, letters }: Evidence): Iterable<Violation> {
  for (const name of ['users', 'orders'] as const) {
    const buried = new Set(letters[name].map(({ event_id }) => event_id));
    for (const event of events[name]) {
      if (!event.sent && !buried.has(event.id)) yield { rule: 'event-unsent', text: show(event) };
    }
    for (const letter of letters[name]) {
      if (letter.error.trim() === '') yield { rule: 'event-lost', text: `no reason: ${show(letter)}` };
      // Nothing in a seed is refused for good by a sink.
      if (letter.side === 'sending') yield { rule: 'event-lost', text: `was refused: ${show(letter)}` };
    }
  }
}

function* reached({ events, letters, inbox, inboxFailures, deliveries }: Evidence): Iterable<Violation> {
  const came = new Set(deliveries.map(({ id }) => id));
  for (const event of [...events.users, ...events.orders]) {
    if (!came.has(event.id))
      yield { rule: 'event-lost', text: `did not come to the witness: ${show(event)}` };
  }
  const noted = groupBy(inbox, ({ event_id }) => event_id);
  const buried = new Set(
    letters.orders.filter(({ side }) => side === 'receiving').map(({ event_id }) => event_id),
  );
  for (const event of events.users) {
    const times = noted.get(event.id)?.length ?? 0;
    if (times === 0 && !buried.has(event.id)) {
      yield { rule: 'event-lost', text: `did not come to order-service: ${show(event)}` };
    }
    if (times > 1) yield { rule: 'event-twice', text: `${times} notes of ${show(event)}` };
    if (times > 0 && buried.has(event.id)) {
      yield { rule: 'event-twice', text: `dealt with and given up: ${show(event)}` };
    }
  }
  for (const { event_id, error } of inboxFailures) {
    if (noted.has(event_id)) {
      yield { rule: 'event-twice', text: `failed after it was dealt with: ${event_id}: ${error}` };
    }
  }
  const known = new Set(events.users.map(({ id }) => id));
  for (const row of inbox) {
    if (!known.has(row.event_id)) yield { rule: 'event-missing', text: `nobody wrote it: ${show(row)}` };
  }
}

/** Effects are told by their transactions: each is that of one event that is noted there, or of an order that was placed. */
function* effects({ acts, inbox, events }: Evidence): Iterable<Violation> {
  const applied = new Map(inbox.map((row) => [row.event_id, row.applied]));
  const bySaga = new Set(events.orders.filter(({ reason }) => reason === 'user_deleted').map(({ id }) => id));
  const transactions = groupBy(acts.orders, ({ transaction }) => transaction);
  for (const inIt of transactions.values()) {
    const effects = inIt.filter(({ relation }) => relation === 'known_users').length;
    const notes = inIt.filter(
      ({ relation, key }) => relation === 'inbox' && applied.get(key) === true,
    ).length;
    const placed = inIt.some(({ relation, operation }) => relation === 'orders' && operation === 'insert');
    const cancelled = inIt.filter(({ relation, key }) => relation === 'outbox' && bySaga.has(key)).length;
    if (placed) continue;
    if (effects === 1 && notes === 0 && cancelled === chunk) continue;
    if (effects !== notes || (cancelled > 0 && notes === 0)) {
      yield {
        rule: 'effect-apart',
        text: `${effects} effects and ${notes} notes in one transaction: ${show(inIt)}`,
      };
    }
  }
}

/** The table of users that order-service knows is what the events say that it has applied. */
function* projection({ inbox, knownUsers, events }: Evidence): Iterable<Violation> {
  const byId = new Map(events.users.map((event) => [event.id, event]));
  const known = new Map(knownUsers.map(({ user_id, deleted }) => [`users/${user_id}`, deleted]));
  for (const row of inbox) {
    const event = byId.get(row.event_id);
    if (event === undefined || !row.applied) continue;
    const deletes = isDeletion(event);
    const deleted = known.get(row.subject);
    if (deleted === undefined || (deletes && !deleted)) {
      yield { rule: 'effect-missing', text: `${event.type} of ${row.subject} is noted, deleted: ${deleted}` };
    }
  }
}

const isDeletion = ({ type }: SentEvent): boolean => type === 'zerda.user.deleted.v1';

/** Of each subject the versions come for the first time in their order, to whoever listens. */
function* order({ deliveries, inbox, acts, transport }: Evidence): Iterable<Violation> {
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
  // NATS hands out a later event while an earlier one that failed waits. By HTTP only one that was given up is overtaken.
  if (transport === 'nats') return;
  const excused = new Set(
    acts.orders.filter(({ relation }) => relation === 'dead_letters').map(({ key }) => key),
  );
  for (const row of inbox) {
    if (!row.applied && !excused.has(row.event_id)) {
      yield { rule: 'order-broken', text: `came after a newer one: ${show(row)}` };
    }
  }
}

function* versions({ inbox, inboxSubjects }: Evidence): Iterable<Violation> {
  const newest = new Map<string, number>();
  for (const row of inbox) {
    const before = newest.get(row.subject) ?? 0;
    if (row.applied && row.version <= before) {
      yield { rule: 'version-back', text: `${show(row)} was applied after version ${before}` };
    }
    if (!row.applied && row.version >= before) {
      yield { rule: 'version-back', text: `${show(row)} was not applied, though newer than ${before}` };
    }
    if (row.applied) newest.set(row.subject, Math.max(before, row.version));
  }
  for (const { subject, version } of inboxSubjects) {
    const applied = newest.get(subject) ?? 0;
    if (version !== applied) {
      yield { rule: 'version-back', text: `${subject} is at ${version}, and ${applied} was applied` };
    }
  }
}

function* counters({
  users,
  orders,
  userCounters,
  orderCounters,
  userOrderCounters,
}: Evidence): Iterable<Violation> {
  const pairs: readonly (readonly [
    what: string,
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
  for (const [what, counted, recounted] of pairs) {
    for (const key of new Set([...counted.keys(), ...recounted.keys()])) {
      const [is, should] = [counted.get(key) ?? '0', recounted.get(key) ?? '0'];
      if (is.replace(/^0, 0 cents$/, '0') !== should) {
        yield { rule: 'counter-wrong', text: `${what}, ${key}: ${is}, and a recount gives ${should}` };
      }
    }
  }
}

function recount<Row>(
  rows: readonly Row[],
  keyOf: (row: Row) => string,
  show: (rows: readonly Row[]) => string = (group) => `${group.length}`,
): Map<string, string> {
  return new Map([...groupBy(rows, keyOf)].map(([key, group]) => [key, show(group)]));
}

function* saga({ events, orders }: Evidence): Iterable<Violation> {
  const deleted = new Set(events.users.filter(isDeletion).map(({ subject }) => subject));
  for (const row of orders) {
    if (deleted.has(`users/${row.user_id}`) && ['pending', 'processing'].includes(row.status)) {
      yield { rule: 'order-of-deleted-user', text: show(row) };
    }
  }
  for (const event of events.orders) {
    if (event.reason === 'user_deleted' && !deleted.has(`users/${event.user_id}`)) {
      yield { rule: 'order-of-deleted-user', text: `the user is there: ${show(event)}` };
    }
  }
}

function* incidents({ incidents, writes }: Evidence): Iterable<Violation> {
  for (const text of incidents) yield { rule: 'incident', text };
  for (const write of writes) {
    if (write.answer === undefined) yield { rule: 'incident', text: `no answer: ${show(write)}` };
    else if (unexpected.has(write.answer.status)) yield { rule: 'incident', text: `refused: ${show(write)}` };
  }
}

/** Answers that say that a well-formed write is not. */
const unexpected = new Set([400, 401, 403, 405, 413, 415]);
