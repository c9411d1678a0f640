import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { freePort } from '../../../packages/chassis/testing/port.ts';
import { root } from '../../../scripts/lib/services.ts';

const run = promisify(execFile);

/** Seconds within which all services must be healthy. An idle machine needs a fifth of this. */
const healthyWithin = 90;

/** Timeout of a command in milliseconds: the sum of the longest grace periods, and a margin for Docker. */
const commandMs = 150_000;

/** Timeout in milliseconds to build or pull all images without a cache. */
const imagesMs = 900_000;

/**
 * Declares a suite that needs Docker with Compose 2. If they are not available, the suite is one skipped test, or with
 * REQUIRE_COMPOSE=1 a failed one. DOCKER_HOST names a daemon on another machine.
 */
export async function describeWithCompose(title: string, suite: () => void): Promise<void> {
  const missing = await findMissing();
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

/** Returns why the suite cannot run; undefined if it can. */
async function findMissing(): Promise<string | undefined> {
  for (const args of [
    ['version', '--format', '{{.Server.Version}}'],
    ['compose', 'version'],
  ]) {
    const succeeds = await run('docker', args, { timeout: 10_000 }).then(
      () => true,
      () => false,
    );
    if (!succeeds) return `docker ${args[0]} fails`;
  }
  return undefined;
}

/** State of a container. */
interface Container {
  readonly service: string;
  /** `running`, `exited`, `restarting` and so on. */
  readonly status: string;
  /** Result of its health check; undefined without one. */
  readonly health: string | undefined;
  readonly exitCode: number;
}

/** A Compose project that runs compose.yaml unchanged, under its own name and port. */
export interface Project {
  /** Port of this machine that is published for the gateway. */
  readonly port: number;
  /** Builds and pulls the images. Does nothing with COMPOSE_BUILD=0. */
  provideImages(): Promise<void>;
  /**
   * Starts all services and waits until they are healthy.
   * @param settings variables of compose.yaml, and COMPOSE_PROFILES
   * @throws Error with the state and last log lines of services that are not healthy
   */
  up(settings?: Readonly<Record<string, string>>): Promise<void>;
  /** Stops and removes the containers; the volumes remain. */
  down(): Promise<void>;
  /** Stops the containers without removing them. */
  stop(): Promise<void>;
  containers(): Promise<Container[]>;
  /** Runs a command in the container of a service and returns its output. */
  exec(service: string, ...command: readonly string[]): Promise<string>;
  /** Events of the project's containers in order: `<service> start`, `<service> health_status: healthy`. */
  readonly events: readonly string[];
  /** Removes containers, networks and volumes. Returns the ids of those that remain. */
  remove(): Promise<string[]>;
}

export async function createProject(): Promise<Project> {
  const name = `zerda-test-${process.pid}`;
  const port = await freePort();
  const label = ['--filter', `label=com.docker.compose.project=${name}`];
  let env: NodeJS.ProcessEnv = {};
  const docker = async (args: readonly string[], timeout = commandMs): Promise<string> =>
    (await run('docker', args, { cwd: root, env, timeout, killSignal: 'SIGKILL' })).stdout.trim();
  const compose = (args: readonly string[], timeout?: number) => docker(['compose', ...args], timeout);
  const configure = (settings: Readonly<Record<string, string>> = {}) => {
    env = {
      ...process.env,
      COMPOSE_PROJECT_NAME: name,
      COMPOSE_PROFILES: '',
      ZERDA_GATEWAY_PORT: String(port),
      NATS_URL: '',
      VALKEY_URL: '',
      ...settings,
    };
  };
  configure();

  const events: string[] = [];
  const eventsCommand = spawn(
    'docker',
    [
      ...['events', ...label, '--since', String(Date.now() / 1000)],
      ...['--filter', 'event=start', '--filter', 'event=health_status'],
      ...['--format', '{{index .Actor.Attributes "com.docker.compose.service"}} {{.Action}}'],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const eventsEnded = once(eventsCommand, 'exit');
  createInterface({ input: eventsCommand.stdout }).on('line', (line) => events.push(line));

  const containers = async () => inspect(await ids('ps', '--all'));
  const ids = async (...args: string[]) =>
    (await docker([...args, '--quiet', ...label])).split('\n').filter((id) => id !== '');
  const inspect = async (containerIds: readonly string[]): Promise<Container[]> => {
    if (containerIds.length === 0) return [];
    const all = JSON.parse(await docker(['inspect', ...containerIds])) as InspectOutput[];
    return all.map(({ Config, State }) => ({
      service: Config.Labels['com.docker.compose.service'] ?? '',
      status: State.Status,
      health: State.Health?.Status,
      exitCode: State.ExitCode,
    }));
  };
  /** Describes started containers that are not healthy, with their last log lines. */
  const describeUnhealthy = async () => {
    const unhealthy = (await containers()).filter(
      ({ status, health = 'healthy' }) =>
        status !== 'created' && (status !== 'running' || health !== 'healthy'),
    );
    const texts = unhealthy.map(async ({ service, status, health, exitCode }) => {
      const log = await compose(['logs', '--no-color', '--no-log-prefix', '--tail', '5', service]);
      return `${service} is ${[status, health].join(' ')}, exit code ${exitCode}:\n${log}`;
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
        throw new Error(`compose.yaml does not start: ${lastLine(stderr)}\n${await describeUnhealthy()}`);
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
        eventsCommand.kill('SIGTERM');
        await eventsEnded;
      }
      return [...(await ids('ps', '--all')), ...(await ids('network', 'ls')), ...(await ids('volume', 'ls'))];
    },
  };
}

/** The used part of the output of `docker inspect`. */
interface InspectOutput {
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
