import type { RequestListener } from 'node:http';
import { createSignedCall } from '@zerda/chassis/events/signed-call';
import { Failure } from '@zerda/chassis/failure';
import type { Logger } from '@zerda/chassis/logging/logger';
import { type userIdsAnswer, userIdsQuery } from '@zerda/contracts/user-ids';
import type { z } from 'zod';
import type { UserStore } from '../store/user-store.ts';

export interface UserIdsOptions {
  /** Asked at each call: the port is open before the database is. */
  readonly users: () => UserStore | undefined;
  readonly secrets: readonly string[];
  readonly logger: Logger;
}

/** Tells other services, which sign their call, who exists: ids and nothing else. */
export function createUserIds({ users, secrets, logger }: UserIdsOptions): RequestListener {
  return createSignedCall({
    secrets,
    logger,
    async answer(query): Promise<z.input<typeof userIdsAnswer>> {
      const asked = userIdsQuery.safeParse(Object.fromEntries(query));
      if (!asked.success) throw new Failure('invalid-request');
      const store = users();
      if (store === undefined) throw new Failure('database-unavailable', { headers: { 'Retry-After': '1' } });
      return { ids: (await store.list(asked.data)).map(({ id }) => id) };
    },
  });
}
