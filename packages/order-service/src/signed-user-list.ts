import { signedCallHeaders } from '@zerda/chassis/events/signed-call';
import type { Upstream } from '@zerda/chassis/http-client/upstream';
import { pageLimit } from '@zerda/contracts/protocol/page';
import { userIdsAnswer, userIdsPath } from '@zerda/contracts/user-ids';
import type { UserList } from './events/replay-projection.ts';

export interface SignedUserListOptions {
  /** The management port of user-service. */
  readonly userService: Pick<Upstream, 'get'>;
  /** Secrets to sign with. */
  readonly secrets: readonly string[];
}

/** Asks user-service as a service of its own: nobody's token is there to do it with. */
export function createSignedUserList({ userService, secrets }: SignedUserListOptions): UserList {
  async function idsAfter(after: number, limit: number): Promise<readonly number[]> {
    const target = `${userIdsPath}?after=${after}&limit=${limit}`;
    const { data } = await userService.get(target, { headers: signedCallHeaders(target, secrets) });
    return userIdsAnswer.parse(data).ids;
  }
  return {
    idsAfter: (after) => idsAfter(after, pageLimit),
    exists: async (id) => (await idsAfter(id - 1, 1))[0] === id,
  };
}
