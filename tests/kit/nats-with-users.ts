import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { ServerProcess } from '../../packages/chassis/testing/server.ts';
import { startNats } from '../../packages/events/testing/nats.ts';
import { root } from '../../scripts/lib/services.ts';

/** File with the users and permissions of the chart and compose.yaml. */
const usersFile = join(root, 'charts/zerda/files/nats-users.conf');

/** Password variable of each user in that file. */
const passwordVariables = {
  zerda: 'QUOTED_PASSWORD',
  'user-service': 'QUOTED_USER_SERVICE_PASSWORD',
  'order-service': 'QUOTED_ORDER_SERVICE_PASSWORD',
} as const;

export type NatsUser = keyof typeof passwordVariables;

/** A nats-server with the users and permissions of the chart and compose.yaml. */
export interface NatsWithUsers extends ServerProcess {
  /** Passwords by user. */
  readonly passwords: Readonly<Record<NatsUser, string>>;
}

/** Starts the server. @param port a free one by default @throws StartupError if nats-server is not installed */
export async function startNatsWithUsers(port?: number): Promise<NatsWithUsers> {
  const users = Object.keys(passwordVariables) as NatsUser[];
  const passwords = Object.fromEntries(
    users.map((user) => [user, randomBytes(16).toString('hex')]),
  ) as Record<NatsUser, string>;
  const nats = await startNats({
    args: ['--config', usersFile],
    env: Object.fromEntries(users.map((user) => [passwordVariables[user], `"${passwords[user]}"`])),
    port,
  });
  return { ...nats, passwords };
}
