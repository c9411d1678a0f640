import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, it } from 'node:test';
import { StartupError } from '../src/startup-error.ts';
import { freePort } from './port.ts';
import { eventually } from './wait.ts';

/** A server program that tests start. */
export interface ServerProgram {
  /** Name in the titles of tests. */
  readonly title: string;
  /** Names of the executable, in order of preference. */
  readonly names: readonly string[];
  /** Environment variable; with the value 1, tests fail if the program is not installed. */
  readonly required: string;
  /** Signal that ends the program without waiting for its clients; SIGKILL by default. */
  readonly stopSignal?: NodeJS.Signals;
  /** Whether the program does not run as root; false by default. */
  readonly refusesRoot?: boolean;
}

/** A server process with its own folder and port, for one test run. */
export interface ServerProcess {
  readonly url: string;
  /** Process id; undefined before the start. */
  readonly pid: number | undefined;
  /** Starts the process. Resolves when it accepts connections. */
  start(): Promise<void>;
  /** Sends a signal that the process survives, such as SIGSTOP. */
  signal(name: NodeJS.Signals): void;
  /** Sends SIGKILL. The folder stays, and `start` uses the same port. */
  kill(): Promise<void>;
  /** Ends the process and removes its folder. */
  stop(): Promise<void>;
}

/** Where a server runs. */
export interface ServerPlace {
  /** Path of the program. */
  readonly binary: string;
  readonly folder: string;
  readonly port: number;
  /** User that runs the program; undefined for the user of this process. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

export interface ServerOptions {
  /** Port of 127.0.0.1; a free one by default. */
  readonly port?: number | undefined;
  /** Returns the URL of the server. */
  readonly url: (port: number) => string;
  /** Additional environment variables. */
  readonly env?: NodeJS.ProcessEnv;
  /** Writes the files of the server and returns its arguments. */
  readonly prepare: (place: ServerPlace) => readonly string[] | Promise<readonly string[]>;
  /** Throws while the server accepts no connections; by default it connects to the port. */
  readonly connect?: (url: string) => Promise<unknown>;
}

/** Time in which a server must accept connections, in milliseconds. */
const startMs = 30_000;

/** Starts a server. @throws StartupError if its program is not installed, Error if it accepts no connections in time */
export async function startServer(program: ServerProgram, options: ServerOptions): Promise<ServerProcess> {
  const { port = await freePort(), env, prepare, connect = connectTo } = options;
  const url = options.url(port);
  const binary = await findServer(program);
  if (binary === undefined) throw new StartupError(`${program.title} was not found. Install it.`);
  const folder = await mkdtemp(join(tmpdir(), `zerda-${program.title}-`));
  const owner = program.refusesRoot ? await findUnprivileged() : undefined;
  let server: ChildProcess | undefined;
  let args: readonly string[] = [];

  async function start(): Promise<void> {
    const attempt = async (): Promise<void> => {
      // PostgreSQL exits at once until the last process of a killed server has ended.
      if (server === undefined || hasExited(server))
        server = spawn(binary as string, args, {
          ...owner,
          cwd: folder,
          env: { ...process.env, ...env },
          stdio: 'ignore',
        });
      await connect(url);
    };
    await eventually(attempt, `${program.title} at ${url}`, startMs);
  }
  async function end(signal: NodeJS.Signals): Promise<void> {
    if (server === undefined || hasExited(server)) return;
    const exited = once(server, 'exit');
    server.kill(signal);
    await exited;
  }
  async function stop(): Promise<void> {
    await end(program.stopSignal ?? 'SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
  try {
    if (owner !== undefined) await chown(folder, owner.uid, owner.gid);
    args = await prepare({ binary, folder, port, owner });
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    get pid() {
      return server?.pid;
    },
    start,
    signal: (name) => void server?.kill(name),
    kill: () => end('SIGKILL'),
    stop,
  };
}

/**
 * Returns the function that runs a suite which needs a server. If it is not installed, the suite is one skipped test, or one failed test
 * if it is required.
 */
export function describeWithServer(program: ServerProgram) {
  return async (title: string, suite: () => void): Promise<void> => {
    const isInstalled = (await findServer(program)) !== undefined;
    describeIf(isInstalled, program, `${title} (${program.title})`, suite);
  };
}

/** Runs a suite if a server is available; otherwise it is one skipped test, or one failed test if the server is required. */
export function describeIf(
  isAvailable: boolean,
  { title: server, required }: Pick<ServerProgram, 'title' | 'required'>,
  title: string,
  suite: () => void,
): void {
  if (isAvailable) describe(title, suite);
  else if (process.env[required] === '1')
    it(title, () => {
      throw new Error(`${required}=1, but ${server} is not installed`);
    });
  else it(`${title}: skipped, ${server} is not installed`, { skip: true }, () => undefined);
}

/**
 * Returns the path of a program; undefined if it is not installed. Searches the PATH and the folders where Debian and Homebrew install
 * servers, newest version first.
 */
export async function findServer({ names }: Pick<ServerProgram, 'names'>): Promise<string | undefined> {
  const list = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);
  const versioned = ['/usr/lib/postgresql', '/opt/homebrew/opt', '/usr/local/opt'].map(async (parent) =>
    (await list(parent))
      .sort()
      .reverse()
      .map((version) => join(parent, version, 'bin')),
  );
  const onPath = (process.env.PATH ?? '').split(delimiter);
  const folders = [...onPath, '/usr/sbin', '/usr/local/bin', ...(await Promise.all(versioned)).flat()];
  for (const folder of folders) {
    const files = await list(folder);
    const file = names.find((name) => files.includes(name));
    if (file !== undefined) return join(folder, file);
  }
  return undefined;
}

/** Returns an unprivileged user; undefined if this process is not root. */
async function findUnprivileged(): Promise<ServerPlace['owner']> {
  if (process.getuid?.() !== 0) return undefined;
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const user = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  return { uid: Number(user?.[2]), gid: Number(user?.[3]) };
}

async function connectTo(url: string): Promise<void> {
  const { port, hostname } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect').finally(() => socket.destroy());
}

function hasExited({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}
