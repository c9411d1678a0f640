import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';

const run = promisify(execFile);

/** A PostgreSQL of its own, in a temporary folder, for one run of tests. */
export interface TestPostgres {
  /** Connects as its superuser. */
  readonly url: string;
  /** Ends it, and removes its folder. */
  stop(): Promise<void>;
}

/** Starts a PostgreSQL; undefined where none is installed. */
export async function startPostgres(): Promise<TestPostgres | undefined> {
  const binaries = await findBinaries();
  if (binaries === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), 'zerda-postgres-'));
  const owner = await unprivileged();
  if (owner !== undefined) await chown(folder, owner.uid, owner.gid);
  const data = join(folder, 'data');
  const port = await freePort();
  await run(
    join(binaries, 'initdb'),
    ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', '-E', 'UTF8'],
    {
      ...owner,
      cwd: folder,
    },
  );
  const settings = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=200'];
  const server = spawn(
    join(binaries, 'postgres'),
    [
      '-D',
      data,
      '-k',
      folder,
      '-h',
      '127.0.0.1',
      '-p',
      String(port),
      ...settings.flatMap((setting) => ['-c', setting]),
    ],
    { ...owner, cwd: folder, stdio: 'ignore' },
  );
  const ended = once(server, 'exit');
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  async function stop(): Promise<void> {
    // Fast shutdown: open connections do not hold it up.
    server.kill('SIGINT');
    await ended;
    await rm(folder, { recursive: true, force: true });
  }
  try {
    await accepting(url);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
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

/** PostgreSQL refuses to run as root: then it runs as a user without rights. */
async function unprivileged(): Promise<{ uid: number; gid: number } | undefined> {
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

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function accepting(url: string): Promise<void> {
  const giveUpAt = performance.now() + 30_000;
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
