import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findViolations, type Rule } from './checker.ts';
import type { DeadLetterRow, Evidence, RowChange, SentEvent } from './evidence.ts';
import type { Write } from './writes.ts';

const rowChange = (
  transaction: number,
  relation: RowChange['relation'],
  operation: RowChange['operation'],
  key: string | number,
  version: number,
  state: RowChange['state'] = null,
): RowChange => ({ transaction: String(transaction), relation, operation, key: String(key), version, state });

const event = (id: string, type: string, subject: string, version: number): SentEvent => ({
  id,
  type: `zerda.${type}.v1`,
  subject,
  version,
  reason: null,
  sent: true,
  attempts: 1,
  user_id: null,
});

const write = (fields: Partial<Write> & Pick<Write, 'kind'>): Write => ({
  attempts: 1,
  failures: [],
  ...fields,
});

/**
 * Returns valid evidence: user 1 was created and changed. User 2 was created, placed an order and was deleted, and the saga canceled the
 * order.
 */
function validEvidence(): Evidence {
  const first = { id: 1, name: 'b', email: 'a', version: 2 };
  const order = { id: 7, user_id: 2, product: 'c', total_cents: 100, status: 'cancelled', version: 2 };
  return {
    transport: 'http',
    writes: [
      write({
        kind: 'create-user',
        mark: 'a',
        response: { status: 201, id: 1, version: 1, replayed: false },
      }),
      write({
        kind: 'update-user',
        mark: 'b',
        target: 1,
        ifMatch: 1,
        response: { status: 200, id: 1, version: 2, replayed: false },
      }),
      write({
        kind: 'place-order',
        mark: 'c',
        target: 2,
        response: { status: 201, id: 7, version: 1, orderStatus: 'pending', replayed: false },
      }),
      write({ kind: 'delete-user', target: 2, response: { status: 200, replayed: false } }),
    ],
    users: [first],
    orders: [order],
    userCounters: [
      { slot: 1, users: 1 },
      { slot: 2, users: 0 },
    ],
    orderCounters: [
      { slot: 7, status: 'pending', orders: 0, total_cents: 0 },
      { slot: 7, status: 'cancelled', orders: 1, total_cents: 100 },
    ],
    userOrderCounters: [{ user_id: 2, orders: 1 }],
    knownUsers: [
      { user_id: 1, deleted: false },
      { user_id: 2, deleted: true },
    ],
    changes: {
      users: [
        rowChange(1, 'users', 'insert', 1, 1, { ...first, name: 'a', version: 1 }),
        rowChange(1, 'outbox', 'insert', 'e1', 1),
        rowChange(2, 'users', 'update', 1, 2, first),
        rowChange(2, 'outbox', 'insert', 'e2', 2),
        rowChange(3, 'users', 'insert', 2, 1, { id: 2, name: 'z', email: 'z', version: 1 }),
        rowChange(3, 'outbox', 'insert', 'e3', 1),
        rowChange(4, 'users', 'delete', 2, 2),
        rowChange(4, 'outbox', 'insert', 'e4', 2),
      ],
      orders: [
        rowChange(11, 'known_users', 'effect', 1, 0),
        rowChange(11, 'inbox', 'insert', 'e1', 1),
        rowChange(12, 'known_users', 'effect', 1, 0),
        rowChange(12, 'inbox', 'insert', 'e2', 2),
        rowChange(13, 'known_users', 'effect', 2, 0),
        rowChange(13, 'inbox', 'insert', 'e3', 1),
        rowChange(14, 'orders', 'insert', 7, 1, { ...order, status: 'pending', version: 1 }),
        rowChange(14, 'outbox', 'insert', 'e5', 1),
        rowChange(15, 'known_users', 'effect', 2, 0),
        rowChange(15, 'orders', 'update', 7, 2, order),
        rowChange(15, 'outbox', 'insert', 'e6', 2),
        rowChange(15, 'inbox', 'insert', 'e4', 2),
      ],
    },
    events: {
      users: [
        event('e1', 'user.created', 'users/1', 1),
        event('e2', 'user.updated', 'users/1', 2),
        event('e3', 'user.created', 'users/2', 1),
        event('e4', 'user.deleted', 'users/2', 2),
      ],
      orders: [
        event('e5', 'order.created', 'orders/7', 1),
        { ...event('e6', 'order.cancelled', 'orders/7', 2), reason: 'user_deleted', user_id: 2 },
      ],
    },
    deadLetters: { users: [], orders: [] },
    inbox: [
      { event_id: 'e1', subject: 'users/1', version: 1, applied: true },
      { event_id: 'e2', subject: 'users/1', version: 2, applied: true },
      { event_id: 'e3', subject: 'users/2', version: 1, applied: true },
      { event_id: 'e4', subject: 'users/2', version: 2, applied: true },
    ],
    inboxSubjects: [
      { subject: 'users/1', version: 2 },
      { subject: 'users/2', version: 2 },
    ],
    inboxFailures: [],
    deliveries: [
      { id: 'e1', subject: 'users/1', version: 1 },
      { id: 'e2', subject: 'users/1', version: 2 },
      { id: 'e3', subject: 'users/2', version: 1 },
      { id: 'e1', subject: 'users/1', version: 1 },
      { id: 'e4', subject: 'users/2', version: 2 },
      { id: 'e5', subject: 'orders/7', version: 1 },
      { id: 'e6', subject: 'orders/7', version: 2 },
    ],
    incidents: [],
  };
}

/** Returns the rules that are violated after a change of the valid evidence. */
function rulesViolatedBy(change: (evidence: Evidence) => Partial<Evidence>): Rule[] {
  const evidence = validEvidence();
  return [...new Set(findViolations({ ...evidence, ...change(evidence) }).map(({ rule }) => rule))];
}

const without = <T>(rows: readonly T[], index: number): T[] => rows.filter((_, at) => at !== index);

function replaced<T>(rows: readonly T[], index: number, fields: Partial<T>): T[] {
  return rows.map((row, at) => (at === index ? { ...row, ...fields } : row));
}

const deadLetter: DeadLetterRow = {
  side: 'receiving',
  event_id: 'e2',
  type: 'zerda.user.updated.v1',
  subject: 'users/1',
  error: 'no',
};

describe('findViolations', () => {
  it('finds nothing in valid evidence with a repeated delivery', () => {
    assert.deepEqual(findViolations(validEvidence()), []);
  });

  const cases: [title: string, change: (evidence: Evidence) => Partial<Evidence>, rules: Rule[]][] = [
    ['an acknowledged user whose row is missing', () => ({ users: [], userCounters: [] }), ['write-lost']],
    [
      'an acknowledged change that was not stored',
      ({ changes }) => ({
        changes: { ...changes, users: replaced(changes.users, 2, { state: { name: 'other' } }) },
      }),
      ['write-lost'],
    ],
    [
      'a change that overwrote another one despite its If-Match',
      ({ writes }) => ({ writes: replaced(writes, 1, { ifMatch: 0 }) }),
      ['write-lost'],
    ],
    [
      'an acknowledged deletion whose user exists',
      ({ users }) => ({
        users: [...users, { id: 2, name: 'z', email: 'z', version: 1 }],
        userCounters: [
          { slot: 1, users: 1 },
          { slot: 2, users: 1 },
        ],
      }),
      ['write-lost'],
    ],
    [
      'an order that was placed twice',
      ({ changes }) => ({
        changes: {
          ...changes,
          orders: [
            ...changes.orders,
            rowChange(20, 'orders', 'insert', 8, 1, { product: 'c' }),
            rowChange(20, 'outbox', 'insert', 'e5', 1),
          ],
        },
      }),
      ['write-twice', 'event-missing'],
    ],
    [
      'a version without an event',
      ({ changes }) => ({ changes: { ...changes, users: without(changes.users, 3) } }),
      ['event-missing'],
    ],
    [
      'an event in another transaction than its row',
      ({ changes }) => ({ changes: { ...changes, users: replaced(changes.users, 3, { transaction: '9' }) } }),
      ['event-missing'],
    ],
    [
      'an event that was not sent',
      ({ events }) => ({ events: { ...events, users: replaced(events.users, 1, { sent: false }) } }),
      ['event-unsent'],
    ],
    [
      'an event that was not delivered to its receiver',
      ({ inbox, changes }) => ({
        inbox: without(inbox, 1),
        inboxSubjects: [
          { subject: 'users/1', version: 1 },
          { subject: 'users/2', version: 2 },
        ],
        changes: { ...changes, orders: changes.orders.filter(({ transaction }) => transaction !== '12') },
      }),
      ['event-lost'],
    ],
    [
      'an event that was not delivered to the event recorder',
      ({ deliveries }) => ({ deliveries: without(deliveries, 5) }),
      ['event-lost'],
    ],
    [
      'an event that was processed and dead-lettered',
      () => ({ deadLetters: { users: [], orders: [deadLetter] } }),
      ['event-twice'],
    ],
    [
      'an event that failed after it was processed',
      () => ({ inboxFailures: [{ event_id: 'e1', error: 'duplicate key' }] }),
      ['event-twice'],
    ],
    [
      'a dead letter without a reason',
      ({ inbox, changes }) => ({
        inbox: without(inbox, 1),
        inboxSubjects: [
          { subject: 'users/1', version: 1 },
          { subject: 'users/2', version: 2 },
        ],
        changes: { ...changes, orders: changes.orders.filter(({ transaction }) => transaction !== '12') },
        deadLetters: { users: [], orders: [{ ...deadLetter, error: ' ' }] },
      }),
      ['event-lost'],
    ],
    [
      'an effect in another transaction than its inbox row',
      ({ changes }) => ({
        changes: { ...changes, orders: replaced(changes.orders, 3, { transaction: '99' }) },
      }),
      ['effect-apart'],
    ],
    [
      'an effect that occurred twice',
      ({ changes }) => ({
        changes: { ...changes, orders: [...changes.orders, rowChange(30, 'known_users', 'effect', 2, 0)] },
      }),
      ['effect-apart'],
    ],
    [
      'an inbox row without its effect',
      ({ knownUsers }) => ({ knownUsers: replaced(knownUsers, 1, { deleted: false }) }),
      ['effect-missing'],
    ],
    [
      'events of one subject in the wrong order',
      ({ deliveries }) => ({ deliveries: [...deliveries].reverse() }),
      ['order-broken'],
    ],
    [
      'an applied version that is older than the previous one',
      ({ inbox }) => ({ inbox: [inbox[1], inbox[0], inbox[2], inbox[3]].filter((row) => row !== undefined) }),
      ['version-back'],
    ],
    [
      'a wrong counter',
      ({ orderCounters }) => ({ orderCounters: replaced(orderCounters, 1, { total_cents: 99 }) }),
      ['counter-wrong'],
    ],
    [
      'an open order of a deleted user',
      ({ orders, orderCounters }) => ({
        orders: replaced(orders, 0, { status: 'pending' }),
        orderCounters: replaced(replaced(orderCounters, 0, { orders: 1, total_cents: 100 }), 1, {
          orders: 0,
          total_cents: 0,
        }),
      }),
      ['order-of-deleted-user'],
    ],
    [
      'a write without a response',
      ({ writes }) => ({ writes: [...writes, write({ kind: 'cancel-order', target: 7 })] }),
      ['incident'],
    ],
  ];
  for (const [title, change, rules] of cases) {
    it(`finds ${title}`, () => assert.deepEqual(rulesViolatedBy(change).toSorted(), rules.toSorted()));
  }
});
