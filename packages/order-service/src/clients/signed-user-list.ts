import { signedCallHeaders } from '@zerda/chassis/auth/signed-call';
import { pageLimit } from '@zerda/contracts/protocol/page';
import { userIdsPath, userIdsResponse } from '@zerda/contracts/user-service/user-ids';
import type { Upstream } from '@zerda/upstream/upstream';
import type { UserList } from '../domain/replay-projection.ts';

export interface SignedUserListOptions {
  /** The management port of user-service. */
  readonly userService: Pick<Upstream, 'get'>;
  /** Secrets to sign with. */
  readonly secrets: readonly string[];
}

/** Creates a user list that reads ids from user-service. Calls are signed, because no caller's access token is available. */
export function createSignedUserList({ userService, secrets }: SignedUserListOptions): UserList {
  async function idsAfter(after: number, limit: number): Promise<readonly number[]> {
    const target = `${userIdsPath}?after=${after}&limit=${limit}`;
    const { data } = await userService.get(target, { headers: signedCallHeaders(target, secrets) });
    return userIdsResponse.parse(data).ids;
  }
  return {
    idsAfter: (after) => idsAfter(after, pageLimit),
    exists: async (id) => (await idsAfter(id - 1, 1))[0] === id,
  };
}
