import type { RequestListener } from 'node:http';
import { createSignedCall } from '@zerda/chassis/auth/signed-call';
import { Failure } from '@zerda/chassis/failure';
import type { Logger } from '@zerda/chassis/logging/logger';
import { userIdsQuery, type userIdsResponse } from '@zerda/contracts/user-service/user-ids';
import type { z } from 'zod';
import type { UserStore } from '../store/user-store.ts';

export interface UserIdsOptions {
  /** Returns the store; undefined until the database is open, because the port opens earlier. */
  readonly users: () => UserStore | undefined;
  readonly secrets: readonly string[];
  readonly logger: Logger;
}

/** Creates the endpoint that returns the ids of all users, page by page, to other services. Their calls are signed. */
export function createUserIds({ users, secrets, logger }: UserIdsOptions): RequestListener {
  return createSignedCall({
    secrets,
    logger,
    handlers: {
      async GET(query): Promise<z.input<typeof userIdsResponse>> {
        const parsed = userIdsQuery.safeParse(Object.fromEntries(query));
        if (!parsed.success) throw new Failure('invalid-request');
        const store = users();
        if (store === undefined) throw new Failure('database-unavailable', { retryAfterSeconds: 1 });
        return { ids: (await store.list(parsed.data)).map(({ id }) => id) };
      },
    },
  });
}
