import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort } from '../testing-port.ts';

const run = promisify(execFile);

/** A PostgreSQL of its own, in a temporary folder, for one run of tests. */
export interface TestPostgres {
  /** Connects as its superuser. */
  readonly url: string;
  /** SIGKILL to its first process; the others of it end by themselves, and what was committed stays. */
  kill(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  /** Ends it, and removes its folder. */
  stop(): Promise<void>;
}

/** Settings of a server that is thrown away: quick, and nothing survives a crash of the machine. */
const quick = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=200'];

/** Milliseconds that a server has until it takes connections. */
const startMs = 30_000;

export interface TestPostgresOptions {
  /** Settings beside the quick ones, or in place of them: `name=value`. */
  readonly settings?: readonly string[];
  /** Port to listen on; a free one by default. */
  readonly port?: number;
}

/** Starts a PostgreSQL; undefined where none is installed. */
export async function startPostgres({
  settings = [],
  port: wanted,
}: TestPostgresOptions = {}): Promise<TestPostgres | undefined> {
  const binaries = await findBinaries();
  if (binaries === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), 'zerda-postgres-'));
  const owner = await unprivileged();
  if (owner !== undefined) await chown(folder, owner.uid, owner.gid);
  const data = join(folder, 'data');
  const port = wanted ?? (await freePort());
  await run(
    join(binaries, 'initdb'),
    ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', '-E', 'UTF8'],
    {
      ...owner,
      cwd: folder,
    },
  );
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  let server: ReturnType<typeof spawn> | undefined;

  async function start(): Promise<void> {
    const giveUpAt = performance.now() + startMs;
    const given = [...quick, ...settings].flatMap((setting) => ['-c', setting]);
    for (;;) {
      const args = ['-D', data, '-k', folder, '-h', '127.0.0.1', '-p', String(port), ...given];
      const started = spawn(join(binaries as string, 'postgres'), args, {
        ...owner,
        cwd: folder,
        stdio: 'ignore',
      });
      server = started;
      const ended = once(started, 'exit').then(() => 'ended' as const);
      if ((await Promise.race([accepting(url), ended])) !== 'ended') return;
      // After a kill it does not start before the last process of the one before has ended.
      if (performance.now() > giveUpAt) throw new Error('PostgreSQL does not start');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  async function end(signal: NodeJS.Signals): Promise<void> {
    const ending = server;
    server = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    const ended = once(ending, 'exit');
    ending.kill(signal);
    await ended;
  }
  async function stop(): Promise<void> {
    // Fast shutdown: open connections do not hold it up.
    await end('SIGINT');
    await rm(folder, { recursive: true, force: true });
  }
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, start, kill: () => end('SIGKILL'), stop };
}

/** A connection for questions that a test asks beside the code under test. */
export interface TestConnection {
  /** Rows of one statement, or of none when there are several. */
  rows<Row>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

/** Connects to a PostgreSQL; numbers of eight bytes come as numbers. */
export async function connectPostgres(url: string): Promise<TestConnection> {
  const client = new pg.Client({
    connectionString: url,
    types: {
      getTypeParser: ((type: number, format?: 'text') =>
        type === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(type, format)) as never,
    },
  });
  // What breaks while nobody asks shows at the next question.
  client.on('error', () => undefined);
  await client.connect();
  return {
    async rows<Row>(text: string, values?: readonly unknown[]) {
      return (await client.query(text, values && [...values])).rows as Row[];
    },
    close: () => client.end(),
  };
}

/** The folder of initdb and postgres: on the PATH, or where Debian, Homebrew and their installers put them. */
async function findBinaries(): Promise<string | undefined> {
  const onPath = (process.env.PATH ?? '').split(delimiter);
  const installed = await Promise.all(
    [
      ['/usr/lib/postgresql', 'bin'],
      ['/opt/homebrew/opt', 'bin'],
      ['/usr/local/opt', 'bin'],
    ].map(async ([parent = '', child = '']) => {
      const names = await readdir(parent).catch(() => []);
      const versions = names.filter((name) => /^(postgresql(@\d+)?|\d+)$/.test(name));
      return versions
        .sort()
        .reverse()
        .map((name) => join(parent, name, child));
    }),
  );
  for (const folder of [...onPath, ...installed.flat()]) {
    const names: string[] = await readdir(folder).catch(() => []);
    if (names.includes('initdb') && names.includes('postgres')) return folder;
  }
  return undefined;
}

/** A user without rights, for servers that refuse to run as root; undefined when this process is not root. */
export async function unprivileged(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (const user of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = await Promise.all(
        ['-u', '-g'].map(async (which) => Number((await run('id', [which, user])).stdout)),
      );
      if (uid !== undefined && gid !== undefined) return { uid, gid };
    } catch {
      // No such user here.
    }
  }
  return undefined;
}

async function accepting(url: string): Promise<void> {
  const giveUpAt = performance.now() + startMs;
  for (;;) {
    const client = new pg.Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      if (performance.now() > giveUpAt) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
