import type { Database, Queries } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { always, type Once } from '@zerda/chassis/idempotency/idempotency';
import { type Precondition, requireMatch } from '@zerda/chassis/precondition';
import type { NewSampleItem, SampleItemChange } from '@zerda/contracts/sample-service/sample-items';
import { appendEvents } from '@zerda/events/outbox';
import { and, asc, eq, gt, sql } from 'drizzle-orm';
import type { SampleItem } from '../domain/sample-item.ts';
import { announceCreated, announceDeleted, announceUpdated } from './sample-item-events.ts';
import { sampleItems } from './tables.ts';

/** Selects the rows of a list. */
export interface SampleItemSelection {
  /** Only ids greater than this one. */
  readonly after?: number | undefined;
  /** Maximum number of rows. */
  readonly limit: number;
  readonly userId?: number | undefined;
  /** Only those of this user, because the caller cannot see others. Applies in addition to `userId`. */
  readonly ownerId?: number | undefined;
}

/** Options of a write. */
export interface WriteOptions {
  readonly precondition?: Precondition | undefined;
  /** Required owner; any owner if undefined. */
  readonly ownerId?: number | undefined;
}

/** Store of the sample items. Each write is one transaction that also writes the event to the outbox. */
export interface SampleItemStore {
  /** Queries the database without reading rows. */
  check(): Promise<void>;
  /** Returns sample items in ascending order of id. */
  list(selection: SampleItemSelection): Promise<SampleItem[]>;
  /**
   * Returns one sample item.
   * @param ownerId required owner; any owner if undefined
   * @throws Failure `not-found`, also for those of another user
   */
  find(id: number, ownerId?: number): Promise<SampleItem>;
  /** @param once wraps the writes; by default they always run */
  create(values: NewSampleItem, once?: Once<SampleItem>): Promise<SampleItem>;
  /** @throws Failure `not-found`, also for those of another user, `precondition-failed` */
  update(id: number, values: SampleItemChange, options?: WriteOptions): Promise<SampleItem>;
  /**
   * Deletes one sample item and returns it.
   * @throws Failure `not-found`, also for those of another user, `precondition-failed`
   */
  delete(id: number, options?: WriteOptions): Promise<SampleItem>;
}

export function createSampleItemStore(database: Database): SampleItemStore {
  return {
    async check() {
      await database.query((db) => db.execute(sql`select 1`));
    },
    list: (selection) => database.query((db) => selectSampleItems(db, selection)),
    async find(id, ownerId) {
      const [row] = await database.query((db) =>
        db.select().from(sampleItems).where(hasIdAndOwner(id, ownerId)),
      );
      return requireRow(row);
    },
    create: (values, once = always) =>
      database.transaction((tx) => once(tx, () => insertSampleItem(tx, values))),
    update: (id, { name }, options) =>
      database.transaction(async (tx) => {
        const { version } = await lockRow(tx, id, options);
        const [row] = await tx
          .update(sampleItems)
          .set({ name, version: version + 1, updatedAt: sql`now()` })
          .where(eq(sampleItems.id, id))
          .returning();
        const changed = requireRow(row);
        await appendEvents(tx, [announceUpdated(changed)]);
        return changed;
      }),
    delete: (id, options) =>
      database.transaction(async (tx) => {
        const deleted = await lockRow(tx, id, options);
        await tx.delete(sampleItems).where(eq(sampleItems.id, id));
        await appendEvents(tx, [announceDeleted(deleted)]);
        return deleted;
      }),
  };
}

/** Returns the query of a list. It pages by key, so its cost does not depend on the position in the list. */
function selectSampleItems(db: Queries, { after = 0, limit, userId, ownerId }: SampleItemSelection) {
  return db
    .select()
    .from(sampleItems)
    .where(
      and(
        gt(sampleItems.id, after),
        userId === undefined ? undefined : eq(sampleItems.userId, userId),
        ownerId === undefined ? undefined : eq(sampleItems.userId, ownerId),
      ),
    )
    .orderBy(asc(sampleItems.id))
    .limit(limit);
}

async function insertSampleItem(tx: Queries, { user_id, name }: NewSampleItem): Promise<SampleItem> {
  const [row] = await tx.insert(sampleItems).values({ userId: user_id, name }).returning();
  const created = requireRow(row);
  await appendEvents(tx, [announceCreated(created)]);
  return created;
}

/** Locks one row until the transaction ends. */
async function lockRow(
  tx: Queries,
  id: number,
  { precondition, ownerId }: WriteOptions = {},
): Promise<SampleItem> {
  const [row] = await tx.select().from(sampleItems).where(hasIdAndOwner(id, ownerId)).for('update');
  const locked = requireRow(row);
  requireMatch(precondition, locked.version);
  return locked;
}

function hasIdAndOwner(id: number, ownerId: number | undefined) {
  return and(eq(sampleItems.id, id), ownerId === undefined ? undefined : eq(sampleItems.userId, ownerId));
}

function requireRow(row: SampleItem | undefined): SampleItem {
  if (row === undefined) throw new Failure('not-found');
  return row;
}
