import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../testing-port.ts';
import { accepting, describeWithServer, findServer } from '../testing-server.ts';
import { unprivileged } from './testing-postgres.ts';

const pgbouncer = { title: 'PgBouncer', names: ['pgbouncer'], required: 'REQUIRE_PGBOUNCER' } as const;

/** A PgBouncer of its own in front of a PostgreSQL. */
export interface TestPgbouncer {
  /** URL of a database of the server, by way of the pooler. */
  urlOf(databaseUrl: string): string;
  stop(): Promise<void>;
}

/** How long a client has a connection to the server; `session` is the default of PgBouncer. */
export type PoolMode = 'session' | 'transaction';

/** Starts a PgBouncer whose settings are its defaults, but for what it cannot do without. */
export async function startPgbouncer(serverUrl: string, mode: PoolMode): Promise<TestPgbouncer> {
  const binary = await findServer(pgbouncer);
  if (binary === undefined) throw new Error('there is no pgbouncer on the PATH');
  const { hostname, port: serverPort } = new URL(serverUrl);
  const folder = await mkdtemp(join(tmpdir(), 'zerda-pgbouncer-'));
  const port = await freePort();
  const users = join(folder, 'users.txt');
  const settings = join(folder, 'pgbouncer.ini');
  await writeFile(users, '"postgres" ""\n');
  await writeFile(
    settings,
    [
      ...['[databases]', `* = host=${hostname} port=${serverPort}`],
      ...['[pgbouncer]', 'listen_addr = 127.0.0.1', `listen_port = ${port}`, 'unix_socket_dir ='],
      ...['auth_type = trust', `auth_file = ${users}`, `pool_mode = ${mode}`, ''],
    ].join('\n'),
  );
  const owner = await unprivileged();
  if (owner !== undefined)
    for (const path of [folder, users, settings]) await chown(path, owner.uid, owner.gid);
  const server = spawn(binary, ['-q', settings], { ...owner, stdio: 'ignore' });
  const stop = async (): Promise<void> => {
    const ended = server.exitCode === null && server.signalCode === null && once(server, 'exit');
    // Immediate shutdown: it does not wait for clients.
    server.kill('SIGTERM');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await accepting(port);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    urlOf(databaseUrl) {
      const url = new URL(databaseUrl);
      url.host = `127.0.0.1:${port}`;
      return url.href;
    },
    stop,
  };
}

/** Runs a suite that needs a PgBouncer; with REQUIRE_PGBOUNCER=1 it fails where none is installed. */
export function describeOnPgbouncer(title: string, suite: () => void): Promise<void> {
  return describeWithServer(pgbouncer, title, suite);
}
