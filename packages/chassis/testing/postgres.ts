import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import {
  describeWithServer,
  findServer,
  type ServerProcess,
  type ServerProgram,
  startServer,
} from './server.ts';

const run = promisify(execFile);

export const postgres: ServerProgram = {
  title: 'PostgreSQL',
  names: ['postgres'],
  required: 'REQUIRE_POSTGRES',
  // Fast shutdown, without waiting for open connections.
  stopSignal: 'SIGINT',
  refusesRoot: true,
};

/** Fast settings that do not survive a system crash. */
const fastSettings = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=200'];

export interface TestPostgresOptions {
  /** Additional settings, which override the fast ones: `name=value`. */
  readonly settings?: readonly string[];
  /** Port to listen on; a free one by default. */
  readonly port?: number;
}

/** Starts a PostgreSQL server; its URL connects as superuser. Returns undefined if none is installed. */
export async function startPostgres({
  settings = [],
  port,
}: TestPostgresOptions = {}): Promise<ServerProcess | undefined> {
  if ((await findServer(postgres)) === undefined) return undefined;
  return startServer(postgres, {
    port,
    url: (serverPort) => `postgres://postgres@127.0.0.1:${serverPort}/postgres`,
    async prepare(place) {
      const data = join(place.folder, 'data');
      const initdb = join(dirname(place.binary), 'initdb');
      const initArgs = ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', '-E', 'UTF8'];
      await run(initdb, initArgs, { ...place.owner, cwd: place.folder });
      const settingArgs = [...fastSettings, ...settings].flatMap((setting) => ['-c', setting]);
      return ['-D', data, '-k', place.folder, '-h', '127.0.0.1', '-p', String(place.port), ...settingArgs];
    },
    connect: async (url) => (await connectPostgres(url)).close(),
  });
}

/** Runs a suite that starts its own PostgreSQL. If none is installed, skips it, or fails with REQUIRE_POSTGRES=1. */
export const describeWithPostgres = describeWithServer(postgres);

/** A connection that a test uses beside the code under test. */
export interface TestConnection {
  /** Returns the rows of one statement; none if there are several statements. */
  rows<Row>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

/** Connects to PostgreSQL. Returns int8 values as numbers. */
export async function connectPostgres(url: string): Promise<TestConnection> {
  const client = new pg.Client({
    connectionString: url,
    types: {
      getTypeParser: ((type: number, format?: 'text') =>
        type === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(type, format)) as never,
    },
  });
  // A broken idle connection is reported by the next query.
  client.on('error', () => undefined);
  await client.connect();
  return {
    async rows<Row>(text: string, values?: readonly unknown[]) {
      return (await client.query(text, values && [...values])).rows as Row[];
    },
    close: () => client.end(),
  };
}
