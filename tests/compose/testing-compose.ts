import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { freePort } from '../../packages/chassis/src/testing-port.ts';
import { root } from '../../scripts/lib/services.ts';

const run = promisify(execFile);

/** Seconds within which everything is healthy; on a machine that has little else to do it takes a fifth of that. */
const healthyWithin = 90;

/** Milliseconds for any command: the longest grace periods one after the other, and some for Docker. */
const commandMs = 150_000;

/** Milliseconds to build or fetch images, from nothing. */
const imagesMs = 900_000;

/**
 * A suite that needs Docker with Compose 2: where `docker compose` has no daemon that answers it is one skipped test that says so,
 * and with REQUIRE_COMPOSE=1 a failure. DOCKER_HOST names a daemon other than that of this machine.
 */
export async function describeWithCompose(title: string, suite: () => void): Promise<void> {
  const missing = await whatIsMissing();
  if (missing === undefined) {
    describe(title, suite);
  } else if (process.env.REQUIRE_COMPOSE === '1') {
    it(title, () => {
      throw new Error(`REQUIRE_COMPOSE=1, but ${missing}`);
    });
  } else {
    it(`${title}: skipped, ${missing}`, { skip: true }, () => undefined);
  }
}

async function whatIsMissing(): Promise<string | undefined> {
  for (const words of [
    ['version', '--format', '{{.Server.Version}}'],
    ['compose', 'version'],
  ]) {
    const succeeds = await run('docker', words, { timeout: 10_000 }).then(
      () => true,
      () => false,
    );
    if (!succeeds) return `docker ${words[0]} does not answer`;
  }
  return undefined;
}

/** A container as Docker has it. */
interface Container {
  readonly service: string;
  /** `running`, `exited`, `restarting` and so on. */
  readonly status: string;
  /** What its healthcheck says; undefined without one. */
  readonly health: string | undefined;
  readonly exitCode: number;
}

/** A project that runs compose.yaml as it is, apart from one that whoever runs the tests may have. */
export interface Project {
  /** Port of this machine that leads to the gateway. */
  readonly port: number;
  /** Builds the images and fetches the others, unless COMPOSE_BUILD=0 says that they are there. */
  provideImages(): Promise<void>;
  /**
   * Brings everything up and waits until it is healthy.
   * @param settings variables of compose.yaml, and COMPOSE_PROFILES
   * @throws Error with the state and the last words of what is not healthy
   */
  up(settings?: Readonly<Record<string, string>>): Promise<void>;
  /** Ends and removes the containers; the volumes stay. */
  down(): Promise<void>;
  /** Ends the containers, and leaves them to be looked at. */
  stop(): Promise<void>;
  containers(): Promise<Container[]>;
  /** Runs a command in the container of a service, and returns what it printed. */
  exec(service: string, ...command: readonly string[]): Promise<string>;
  /** What the daemon told of the project since it was created, in order: `<service> start`, `<service> health_status: healthy`. */
  readonly events: readonly string[];
  /** Removes all of it. @returns containers, networks and volumes that are there all the same */
  remove(): Promise<string[]>;
}

export async function createProject(): Promise<Project> {
  const name = `zerda-test-${process.pid}`;
  const port = await freePort();
  const label = ['--filter', `label=com.docker.compose.project=${name}`];
  let env: NodeJS.ProcessEnv = {};
  const docker = async (words: readonly string[], timeout = commandMs): Promise<string> =>
    (await run('docker', words, { cwd: root, env, timeout, killSignal: 'SIGKILL' })).stdout.trim();
  const compose = (words: readonly string[], timeout?: number) => docker(['compose', ...words], timeout);
  const configure = (settings: Readonly<Record<string, string>> = {}) => {
    env = {
      ...process.env,
      ...{ COMPOSE_PROJECT_NAME: name, COMPOSE_PROFILES: '', ZERDA_GATEWAY_PORT: String(port) },
      ...{ NATS_URL: '', VALKEY_URL: '' },
      ...settings,
    };
  };
  configure();

  const events: string[] = [];
  const teller = spawn(
    'docker',
    [
      ...['events', ...label, '--since', String(Date.now() / 1000)],
      ...['--filter', 'event=start', '--filter', 'event=health_status'],
      ...['--format', '{{index .Actor.Attributes "com.docker.compose.service"}} {{.Action}}'],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const told = once(teller, 'exit');
  createInterface({ input: teller.stdout }).on('line', (line) => events.push(line));

  const containers = async () => inspect(await ids('ps', '--all'));
  const ids = async (...words: string[]) =>
    (await docker([...words, '--quiet', ...label])).split('\n').filter((id) => id !== '');
  const inspect = async (found: readonly string[]): Promise<Container[]> => {
    if (found.length === 0) return [];
    const all = JSON.parse(await docker(['inspect', ...found])) as Inspected[];
    return all.map(({ Config, State }) => ({
      service: Config.Labels['com.docker.compose.service'] ?? '',
      status: State.Status,
      health: State.Health?.Status,
      exitCode: State.ExitCode,
    }));
  };
  /** What was begun and is not healthy, with the last that it said, for whoever reads that the project did not come up. */
  const complaints = async () => {
    const ailing = (await containers()).filter(
      ({ status, health = 'healthy' }) =>
        status !== 'created' && (status !== 'running' || health !== 'healthy'),
    );
    const texts = ailing.map(async ({ service, status, health, exitCode }) => {
      const said = await compose(['logs', '--no-color', '--no-log-prefix', '--tail', '5', service]);
      return `${service} is ${[status, health].join(' ')}, exit code ${exitCode}:\n${said}`;
    });
    return (await Promise.all(texts)).join('\n');
  };

  return {
    port,
    events,
    containers,
    async provideImages() {
      if (process.env.COMPOSE_BUILD === '0') return;
      configure({ COMPOSE_PROFILES: 'nats,valkey' });
      await compose(['build', '--quiet'], imagesMs);
      await compose(['pull', '--quiet', '--ignore-buildable', '--policy', 'missing'], imagesMs);
    },
    async up(settings) {
      configure(settings);
      try {
        await compose([
          ...['up', '--detach', '--no-build', '--pull', 'never'],
          ...['--wait', '--wait-timeout', String(healthyWithin)],
        ]);
      } catch (error) {
        const { stderr = '' } = error as { stderr?: string };
        throw new Error(`compose.yaml does not come up: ${lastLine(stderr)}\n${await complaints()}`);
      }
    },
    async down() {
      await compose(['down']);
    },
    async stop() {
      await compose(['stop']);
    },
    exec: (service, ...command) => compose(['exec', '-T', service, ...command]),
    async remove() {
      try {
        await compose(['down', '--volumes', '--remove-orphans', '--timeout', '5']);
      } finally {
        teller.kill('SIGTERM');
        await told;
      }
      const left = [await ids('ps', '--all'), await ids('network', 'ls'), await ids('volume', 'ls')];
      return left.flat();
    },
  };
}

/** What is read of `docker inspect`. */
interface Inspected {
  readonly Config: { readonly Labels: Readonly<Record<string, string>> };
  readonly State: {
    readonly Status: string;
    readonly ExitCode: number;
    readonly Health?: { readonly Status: string };
  };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
