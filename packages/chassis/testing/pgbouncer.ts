import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeWithServer, type ServerProcess, type ServerProgram, startServer } from './server.ts';

const pgbouncer: ServerProgram = {
  title: 'PgBouncer',
  names: ['pgbouncer'],
  required: 'REQUIRE_PGBOUNCER',
  refusesRoot: true,
};

/** A PgBouncer in front of a PostgreSQL server. */
export interface TestPgbouncer extends ServerProcess {
  /** Returns the URL of a database through the pooler. */
  urlOf(databaseUrl: string): string;
}

/** How long a client holds a server connection; `session` is the default of PgBouncer. */
export type PoolMode = 'session' | 'transaction';

/** Starts a PgBouncer with default settings except for the required ones. */
export async function startPgbouncer(serverUrl: string, mode: PoolMode): Promise<TestPgbouncer> {
  const { hostname, port: serverPort } = new URL(serverUrl);
  const server = await startServer(pgbouncer, {
    url: (port) => `postgres://127.0.0.1:${port}`,
    async prepare({ folder, port }) {
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
      return ['-q', settings];
    },
  });
  const { host } = new URL(server.url);
  return { ...server, urlOf: (databaseUrl) => Object.assign(new URL(databaseUrl), { host }).href };
}

/** Runs a suite that requires PgBouncer. If none is installed, skips it, or fails with REQUIRE_PGBOUNCER=1. */
export const describeOnPgbouncer = describeWithServer(pgbouncer);
