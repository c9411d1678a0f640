import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { startNats, type TestNats } from '../../../packages/chassis/src/events/testing-nats.ts';
import { root } from '../../../scripts/lib/services.ts';

/** Users and permissions as the chart and compose.yaml have them. */
const usersFile = join(root, 'charts/zerda/files/nats-users.conf');

/** Each user of that file, and the variable of its password there. */
const variables = {
  zerda: 'QUOTED_PASSWORD',
  'user-service': 'QUOTED_USER_SERVICE_PASSWORD',
  'order-service': 'QUOTED_ORDER_SERVICE_PASSWORD',
} as const;

export type NatsUser = keyof typeof variables;

/** A nats-server with the users and permissions that the chart and compose.yaml give it. */
export interface NatsWithUsers extends TestNats {
  /** Passwords by user. */
  readonly passwords: Readonly<Record<NatsUser, string>>;
}

/**
 * Starts the server; undefined where none is installed.
 * @param port a free one by default
 */
export async function startNatsWithUsers(port?: number): Promise<NatsWithUsers | undefined> {
  const users = Object.keys(variables) as NatsUser[];
  const passwords = Object.fromEntries(
    users.map((user) => [user, randomBytes(16).toString('hex')]),
  ) as Record<NatsUser, string>;
  const nats = await startNats({
    args: ['--config', usersFile],
    env: Object.fromEntries(users.map((user) => [variables[user], `"${passwords[user]}"`])),
    ...(port !== undefined && { port }),
  });
  return nats && { ...nats, passwords };
}
