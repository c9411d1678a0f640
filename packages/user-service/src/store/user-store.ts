import { forbidden } from '@zerda/chassis/auth/bearer';
import type { Database, Queries } from '@zerda/chassis/database/database';
import { isUniqueViolation } from '@zerda/chassis/database/database-errors';
import { createInTurn } from '@zerda/chassis/database/in-turn';
import { announce, append } from '@zerda/chassis/events/outbox';
import { Failure } from '@zerda/chassis/failure';
import { type Precondition, requireMatch } from '@zerda/chassis/http/entity-tag';
import {
  type Answered,
  findKept,
  type KeptAnswer,
  type KeyedRequest,
  once,
} from '@zerda/chassis/idempotency/idempotency';
import { userEvents } from '@zerda/contracts/events/users';
import type { NewUser, UserChange, UserRole } from '@zerda/contracts/users';
import { and, asc, eq, gt, sql } from 'drizzle-orm';
import { type StoredUser, users } from './tables.ts';
import { countUser, readUserCount } from './user-counter.ts';

/** Which users a list has. */
export interface UserSelection {
  /** Only ids above this one. */
  readonly after?: number | undefined;
  /** Rows at most. */
  readonly limit: number;
  readonly role?: UserRole | undefined;
  /** Only the user with this id: for a caller who may see nobody else. */
  readonly only?: number | undefined;
}

/** What else is written in the transaction of a user. */
export type Beside = (tx: Queries, user: StoredUser) => Promise<void>;

/** On whose authority a user is written. */
export interface Authority {
  /**
   * Id of the admin whose request this is. The transaction locks and reads the admin, since an access token outlives the role.
   * Undefined where the role needs no check: a user changes themselves, or another issuer assigns the roles.
   */
  readonly byAdmin?: number | undefined;
}

/** The users, each write in a transaction of its own, with the event that reports it. */
export interface UserStore {
  /** Users in the order of their ids. */
  list(selection: UserSelection): Promise<StoredUser[]>;
  /** @throws Failure `user-not-found` */
  find(id: number): Promise<StoredUser>;
  /** The number of all users. */
  count(): Promise<number>;
  /**
   * Stores a user, and with it the response for a repeat of the request.
   * @param options.prepare slow work before the transaction, such as hashing: done only when neither an earlier request with this key
   * nor a user with this e-mail address makes it useless
   * @throws Failure `email-taken`, `forbidden`, and those of `once`
   */
  create<Body>(
    user: NewUser,
    request: KeyedRequest | undefined,
    answer: (user: StoredUser) => KeptAnswer<Body>,
    options?: Authority & { readonly prepare?: (() => Promise<Beside>) | undefined },
  ): Promise<Answered<Body>>;
  /** @throws Failure `user-not-found`, `precondition-failed`, `email-taken`, `forbidden` */
  update(
    id: number,
    change: UserChange,
    precondition?: Precondition,
    options?: Authority & { readonly beside?: Beside | undefined },
  ): Promise<StoredUser>;
  /** @throws Failure `user-not-found`, `precondition-failed`, `forbidden` */
  remove(id: number, precondition?: Precondition, authority?: Authority): Promise<void>;
}

export function createUserStore(database: Database): UserStore {
  const turns = createInTurn();

  /** A transaction that locks this user. */
  function writeUser<T>(id: number, work: (tx: Queries) => Promise<T>): Promise<T> {
    return turns.run(id, () => database.write(work));
  }

  return {
    list: (selection) => database.read((db) => selectUsers(db, selection)),
    async find(id) {
      const [user] = await database.read((db) => db.select().from(users).where(eq(users.id, id)));
      return found(user);
    },
    count: () => database.read(readUserCount),
    async create(user, request, answer, { byAdmin, prepare } = {}) {
      let beside: Beside | undefined;
      if (prepare !== undefined) {
        const earlier = await findKept<ReturnType<typeof answer>['body']>(database, request);
        if (earlier !== undefined) return earlier;
        if (await database.read((db) => isTaken(db, user.email))) throw new Failure('email-taken');
        beside = await prepare();
      }
      return once(database, request, async (tx) => {
        if (byAdmin !== undefined) requireAdmin(await lock(tx, byAdmin, 'share'));
        const inserted = await insertUser(tx, user);
        await beside?.(tx, inserted);
        return answer(inserted);
      });
    },
    update: (id, change, precondition, { byAdmin, beside } = {}) =>
      writeUser(id, async (tx) => {
        const user = await changeUser(tx, id, change, precondition, { byAdmin });
        await beside?.(tx, user);
        return user;
      }),
    remove: (id, precondition, authority) =>
      writeUser(id, async (tx) => {
        const { version } = await lockUser(tx, id, precondition, authority);
        await tx.delete(users).where(eq(users.id, id));
        await countUser(tx, id, -1);
        const data = { id, deleted_at: new Date().toISOString() };
        await append(tx, [announce(userEvents.userDeleted, { id, version: version + 1, data })]);
      }),
  };
}

/** The query of a list: by key, so that its cost does not depend on how far into the list it is. */
export function selectUsers(db: Queries, { after = 0, limit, role, only }: UserSelection) {
  return db
    .select()
    .from(users)
    .where(
      and(
        gt(users.id, after),
        role === undefined ? undefined : eq(users.role, role),
        only === undefined ? undefined : eq(users.id, only),
      ),
    )
    .orderBy(asc(users.id))
    .limit(limit);
}

/** Stores a user in a transaction that is open already. */
export async function insertUser(tx: Queries, user: NewUser): Promise<StoredUser> {
  const [stored] = await uniqueEmail(() => tx.insert(users).values(user).returning());
  const inserted = found(stored);
  await countUser(tx, inserted.id, 1);
  await append(tx, [announce(userEvents.userCreated, stateOf(inserted))]);
  return inserted;
}

/** Changes a user in a transaction that is open already. @throws as `UserStore.update` */
export async function changeUser(
  tx: Queries,
  id: number,
  change: UserChange,
  precondition?: Precondition,
  authority?: Authority,
): Promise<StoredUser> {
  const { version, email } = await lockUser(tx, id, precondition, authority);
  // An address of another user is refused here: in the unique index, two users who take each other's would wait in a circle.
  if (change.email !== undefined && change.email !== email && (await isTaken(tx, change.email, id)))
    throw new Failure('email-taken');
  const [changed] = await uniqueEmail(() =>
    tx
      .update(users)
      .set({ ...change, version: version + 1, updatedAt: sql`now()` })
      .where(eq(users.id, id))
      .returning(),
  );
  const user = found(changed);
  await append(tx, [announce(userEvents.userUpdated, stateOf(user))]);
  return user;
}

/** What events tell of a user as they are now. */
function stateOf({ id, role, version, createdAt, updatedAt }: StoredUser) {
  const data = { id, role, created_at: createdAt.toISOString(), updated_at: updatedAt.toISOString() };
  return { id, version, data };
}

/**
 * Makes every other writer of this user wait until the transaction ends, and verifies the role of the admin who writes. Both rows are
 * locked in the order of their ids, so that two admins who change each other do not wait in a circle.
 */
async function lockUser(
  tx: Queries,
  id: number,
  precondition: Precondition | undefined,
  { byAdmin }: Authority = {},
): Promise<StoredUser> {
  const rows = new Map<number, StoredUser | undefined>();
  for (const each of [...new Set([id, byAdmin ?? id])].sort((a, b) => a - b))
    rows.set(each, await lock(tx, each, each === id ? 'update' : 'share'));
  if (byAdmin !== undefined) requireAdmin(rows.get(byAdmin));
  const user = found(rows.get(id));
  requireMatch(precondition, user.version);
  return user;
}

async function lock(tx: Queries, id: number, strength: 'share' | 'update'): Promise<StoredUser | undefined> {
  const [row] = await tx.select().from(users).where(eq(users.id, id)).for(strength);
  return row;
}

function requireAdmin(user: StoredUser | undefined): void {
  if (user?.role !== 'admin') throw forbidden('The caller is no longer an admin.');
}

/** Whether a user has this e-mail address, other than the one with the id `except`. */
async function isTaken(db: Queries, email: string, except?: number): Promise<boolean> {
  const rows = await db
    .select({ id: users.id })
    .from(users)
    .where(sql`lower(${users.email}) = lower(${email})`);
  return rows.some(({ id }) => id !== except);
}

async function uniqueEmail<T>(statement: () => Promise<T>): Promise<T> {
  try {
    return await statement();
  } catch (error) {
    throw isUniqueViolation(error, 'users_email_key') ? new Failure('email-taken') : error;
  }
}

function found(user: StoredUser | undefined): StoredUser {
  if (user === undefined) throw new Failure('user-not-found');
  return user;
}
