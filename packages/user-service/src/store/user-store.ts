import { forbidden } from '@zerda/chassis/auth/bearer';
import type { Database, Queries } from '@zerda/chassis/database/database';
import { isUniqueViolation } from '@zerda/chassis/database/database-errors';
import { deferStatement } from '@zerda/chassis/database/deferred-statements';
import { createKeyedMutex } from '@zerda/chassis/database/keyed-mutex';
import { prepareQuery } from '@zerda/chassis/database/prepared-query';
import { Failure } from '@zerda/chassis/failure';
import { always } from '@zerda/chassis/idempotency/idempotency';
import { type Precondition, requireMatch } from '@zerda/chassis/precondition';
import { userEvents } from '@zerda/contracts/user-service/events';
import type { NewUser, UserChange, UserRole } from '@zerda/contracts/user-service/users';
import { appendEvents, newEvent } from '@zerda/events/outbox';
import { and, asc, eq, getTableColumns, gt, sql } from 'drizzle-orm';
import type { ChangedUsers } from '../domain/change-user.ts';
import type { RegisteredUsers } from '../domain/register-user.ts';
import type { Authority, User } from '../domain/user.ts';
import { setPassword } from '../identity/credentials.ts';
import { users } from './tables.ts';
import { countUser, readUserCount } from './user-counter.ts';

/** Selects the users of a list. */
export interface UserSelection {
  /** Only ids greater than this one. */
  readonly after?: number | undefined;
  /** Maximum number of rows. */
  readonly limit: number;
  readonly role?: UserRole | undefined;
  /** Only the user with this id, because the caller cannot see others. */
  readonly id?: number | undefined;
}

/** Store of the users. Each write is one transaction that also writes the event to the outbox. */
export interface UserStore extends RegisteredUsers, ChangedUsers {
  /** Returns users in ascending order of id. */
  list(selection: UserSelection): Promise<User[]>;
  /** Returns the number of all users. */
  count(): Promise<number>;
  /** @throws Failure `user-not-found`, `precondition-failed`, `forbidden` */
  remove(id: number, precondition?: Precondition, authority?: Authority): Promise<void>;
}

export function createUserStore(database: Database): UserStore {
  const turns = createKeyedMutex();

  /** Runs a transaction that locks this user; one at a time in this process. */
  function writeUser<T>(id: number, work: (tx: Queries) => Promise<T>): Promise<T> {
    return turns.run(id, () => database.transaction(work));
  }

  return {
    list: (selection) => database.query((db) => selectUsers(db, selection)),
    async find(id) {
      const [user] = await database.query((db) => selectUser(db, { id }));
      return requireUser(user);
    },
    count: () => database.query(readUserCount),
    async requireFreeEmail(email) {
      if (await database.query((db) => isTaken(db, email))) throw new Failure('email-taken');
    },
    async create(user, { byAdmin, passwordHash, once = always } = {}) {
      return database.transaction((tx) =>
        once(tx, async () => {
          if (byAdmin !== undefined) requireAdmin(await lock(tx, byAdmin, 'share'));
          const inserted = await insertUser(tx, user);
          if (passwordHash !== undefined) await setPassword(tx, inserted.id, passwordHash);
          return inserted;
        }),
      );
    },
    update: (id, change, precondition, { byAdmin, passwordHash, confirm } = {}) =>
      writeUser(id, async (tx) => {
        const user = await changeUser(tx, id, change, precondition, { byAdmin });
        await confirm?.(tx);
        if (passwordHash !== undefined) await setPassword(tx, id, passwordHash);
        return user;
      }),
    remove: (id, precondition, authority) =>
      writeUser(id, async (tx) => {
        const { version } = await lockUser(tx, id, precondition, authority);
        await deferStatement(tx, deleteRow(tx, { id }));
        await countUser(tx, id, -1);
        const data = { id, deleted_at: new Date().toISOString() };
        await appendEvents(tx, [newEvent(userEvents.userDeleted, { id, version: version + 1, data })]);
      }),
  };
}

/** Returns the query of a list. It pages by key, so its cost does not depend on the position in the list. */
export function selectUsers(db: Queries, { after = 0, limit, role, id }: UserSelection) {
  return db
    .select()
    .from(users)
    .where(
      and(
        gt(users.id, after),
        role === undefined ? undefined : eq(users.role, role),
        id === undefined ? undefined : eq(users.id, id),
      ),
    )
    .orderBy(asc(users.id))
    .limit(limit);
}

const insertRow = prepareQuery((db) =>
  db
    .insert(users)
    .values({ name: sql.placeholder('name'), email: sql.placeholder('email'), role: sql.placeholder('role') })
    .returning(),
);

/** Stores a user in an open transaction. */
export async function insertUser(tx: Queries, { name, email, role }: NewUser): Promise<User> {
  const [stored] = await uniqueEmail(() => insertRow(tx, { name, email, role }));
  const inserted = requireUser(stored);
  await countUser(tx, inserted.id, 1);
  await appendEvents(tx, [newEvent(userEvents.userCreated, stateOf(inserted))]);
  return inserted;
}

const updateRow = prepareQuery((db) =>
  db
    .update(users)
    .set({
      name: sql`${sql.placeholder('name')}`,
      email: sql`${sql.placeholder('email')}`,
      role: sql`${sql.placeholder('role')}`,
      version: sql`${sql.placeholder('version')}`,
      updatedAt: sql`now()`,
    })
    .where(hasId),
);

/** Changes a user in an open transaction. @throws as `UserStore.update` */
export async function changeUser(
  tx: Queries,
  id: number,
  change: UserChange,
  precondition?: Precondition,
  authority?: Authority,
): Promise<User> {
  const { now, ...stored } = await lockUser(tx, id, precondition, authority);
  const { name = stored.name, email = stored.email, role = stored.role } = change;
  // Checked before the unique index: two users who swap their addresses would deadlock in the index.
  if (email !== stored.email && (await isTaken(tx, email, id))) throw new Failure('email-taken');
  const user: User = { ...stored, name, email, role, version: stored.version + 1, updatedAt: now };
  await Promise.all([
    uniqueEmail(() => updateRow(tx, { ...user })),
    appendEvents(tx, [newEvent(userEvents.userUpdated, stateOf(user))]),
  ]);
  return user;
}

/** Returns id, version and event data of the current state of a user. */
function stateOf({ id, role, version, createdAt, updatedAt }: User) {
  const data = { id, role, created_at: createdAt.toISOString(), updated_at: updatedAt.toISOString() };
  return { id, version, data };
}

/**
 * Locks a user until the transaction ends and verifies the role of the admin who sent the request. Both rows are locked in the order
 * of their ids, so that two admins who change each other do not deadlock.
 */
async function lockUser(
  tx: Queries,
  id: number,
  precondition: Precondition | undefined,
  { byAdmin }: Authority = {},
): Promise<LockedUser> {
  const rows = new Map<number, LockedUser | undefined>();
  for (const each of [...new Set([id, byAdmin ?? id])].sort((a, b) => a - b))
    rows.set(each, await lock(tx, each, each === id ? 'update' : 'share'));
  if (byAdmin !== undefined) requireAdmin(rows.get(byAdmin));
  const user = requireUser(rows.get(id));
  requireMatch(precondition, user.version);
  return user;
}

const hasId = eq(users.id, sql.placeholder('id'));

const selectUser = prepareQuery((db) => db.select().from(users).where(hasId));

const deleteRow = prepareQuery((db) => db.delete(users).where(hasId));

/** A user, and the time of the transaction that locks it. */
type LockedUser = User & { readonly now: Date };

const columnsAndTime = {
  ...getTableColumns(users),
  now: sql`now()::timestamptz(3)`.mapWith(users.updatedAt),
};

const lockStatements = {
  share: prepareQuery((db) => db.select(columnsAndTime).from(users).where(hasId).for('share')),
  update: prepareQuery((db) => db.select(columnsAndTime).from(users).where(hasId).for('update')),
} as const;

async function lock(tx: Queries, id: number, strength: 'share' | 'update'): Promise<LockedUser | undefined> {
  const [row] = await lockStatements[strength](tx, { id });
  return row;
}

function requireAdmin(user: User | undefined): void {
  if (user?.role !== 'admin') throw forbidden('The caller is no longer an admin.');
}

const selectIdsByEmail = prepareQuery((db) =>
  db
    .select({ id: users.id })
    .from(users)
    .where(sql`lower(${users.email}) = lower(${sql.placeholder('email')})`),
);

/** Returns whether a user other than `except` has this e-mail address. */
async function isTaken(db: Queries, email: string, except?: number): Promise<boolean> {
  const rows = await selectIdsByEmail(db, { email });
  return rows.some(({ id }) => id !== except);
}

async function uniqueEmail<T>(statement: () => Promise<T>): Promise<T> {
  try {
    return await statement();
  } catch (error) {
    throw isUniqueViolation(error, 'users_email_key') ? new Failure('email-taken') : error;
  }
}

function requireUser<Row>(user: Row | undefined): Row {
  if (user === undefined) throw new Failure('user-not-found');
  return user;
}
