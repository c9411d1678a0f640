import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { ServerProcess } from '../../packages/chassis/testing/server.ts';
import { startNats } from '../../packages/events/testing/nats.ts';
import { eventServices, natsPasswordVariable } from '../../scripts/lib/nats-users.ts';
import { root } from '../../scripts/lib/services.ts';

/** File with the users and permissions of the chart and compose.yaml. */
const usersFile = join(root, 'charts/zerda/files/nats-users.conf');

/** Password variable of each user in that file. */
const passwordVariables: ReadonlyMap<string, string> = new Map([
  ['zerda', 'QUOTED_PASSWORD'],
  ...eventServices.map(({ name }): [string, string] => [name, natsPasswordVariable(name)]),
]);

/** A nats-server with the users and permissions of the chart and compose.yaml. */
export interface NatsWithUsers extends ServerProcess {
  /** Names of all users. */
  readonly users: readonly string[];
  /** Returns the password of a user; an empty one if there is no such user. */
  passwordOf(user: string): string;
}

/** Starts the server. @param port a free one by default @throws StartupError if nats-server is not installed */
export async function startNatsWithUsers(port?: number): Promise<NatsWithUsers> {
  const passwords = new Map(
    [...passwordVariables.keys()].map((user) => [user, randomBytes(16).toString('hex')]),
  );
  const nats = await startNats({
    args: ['--config', usersFile],
    env: Object.fromEntries(
      [...passwordVariables].map(([user, variable]) => [variable, `"${passwords.get(user)}"`]),
    ),
    port,
  });
  return { ...nats, users: [...passwords.keys()], passwordOf: (user) => passwords.get(user) ?? '' };
}
