import { StartupError } from '@zerda/chassis/startup-error';
import { largestId } from '@zerda/contracts/protocol/values';

/** The users of user-service. */
export interface UserList {
  /** Returns the next page of ids greater than `after`, in ascending order; empty after the last id. */
  idsAfter(after: number): Promise<readonly number[]>;
  exists(id: number): Promise<boolean>;
}

/** A page of ids, and the range of ids that it covers. */
export interface UserPage {
  readonly after: number;
  readonly last: number;
  readonly ids: readonly number[];
}

/** The projection of users in order-service. */
export interface UserProjection {
  /** Adds users unless they were deleted. */
  add(ids: readonly number[]): Promise<void>;
  /** Returns users in the range of a page that are in the projection or have open orders, but are not on the page. */
  findUnlisted(page: UserPage): Promise<readonly number[]>;
  /** Marks a user as deleted and cancels their open orders. */
  markDeleted(id: number): Promise<void>;
}

export interface ReplayOptions {
  readonly projection: UserProjection;
  readonly users: UserList;
}

export interface ReplayResult {
  /** Number of users in user-service. */
  readonly knownUsers: number;
  /** Number of users that the replay marked as deleted. Their pending and processing orders are canceled. */
  readonly deletedUsers: number;
}

/**
 * Synchronizes the projection of users with user-service, page by page, while both services continue to work. Users of a page are
 * added unless they were deleted in the meantime. Other users in the same range of ids are verified one by one, because a user
 * created after the page was read can have an id in its range. The replay can be interrupted and run again.
 * @throws StartupError if user-service does not respond
 */
export async function replayProjection({ projection, users }: ReplayOptions): Promise<ReplayResult> {
  let knownUsers = 0;
  let deletedUsers = 0;
  for (let after = 0; after < largestId; ) {
    const from = after;
    const ids = await callUserService(() => users.idsAfter(from));
    await projection.add(ids);
    const last = ids.at(-1) ?? largestId;
    for (const id of await projection.findUnlisted({ after, last, ids })) {
      if (await callUserService(() => users.exists(id))) continue;
      await projection.markDeleted(id);
      deletedUsers += 1;
    }
    knownUsers += ids.length;
    after = last;
  }
  return { knownUsers, deletedUsers };
}

async function callUserService<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw new StartupError(
      `user-service did not respond (${(error as Error).message}). Completed pages are stored; run the command again.`,
      1,
      { cause: error },
    );
  }
}
