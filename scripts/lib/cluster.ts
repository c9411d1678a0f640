import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { findCommand } from './chart.ts';
import { captureOutput, commandSucceeds, finish } from './child-process.ts';
import { type Builder, buildCommand, type Command, planDelivery, tagOf } from './images.ts';
import { root, type ServiceName, services, versionOf } from './services.ts';

/** Images in a cluster, by service. */
export type Images = ReadonlyMap<ServiceName, { repository: string; tag: string }>;

/** Runs a command and prints its output. @throws StartupError when it fails */
export async function runVisibly(command: Command): Promise<void> {
  const [file, ...args] = command;
  const child = spawn(file, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: buildEnvironment(),
  });
  await finish(child, command);
}

/** Runs a command in a folder and prints its output only if it fails. @throws StartupError when it fails */
async function runBuild(command: Command, folder: string): Promise<void> {
  const [file, ...args] = command;
  const child = spawn(file, args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: buildEnvironment(),
  });
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.push(chunk));
  try {
    await finish(child, command);
  } catch (error) {
    process.stderr.write(Buffer.concat(output));
    throw error;
  }
}

/** Enables BuildKit, because older Docker versions support build secrets only with it. */
function buildEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, DOCKER_BUILDKIT: '1' };
}

/** Checks that commands are installed. @throws StartupError (78) that names the missing command */
export async function requireCommands(...names: readonly string[]): Promise<void> {
  for (const name of names) {
    if ((await findCommand(name)) === undefined)
      throw new StartupError(`${name} is required but not on the PATH. Install it and try again.`, 78);
  }
}

/**
 * Selects the image builder: BUILDER, Docker if its daemon is running, or Buildah.
 * @throws StartupError (78) when there is none
 */
export async function findBuilder(env: NodeJS.ProcessEnv): Promise<Builder> {
  if (env.BUILDER === 'docker' || env.BUILDER === 'buildah') return env.BUILDER;
  if ((await findCommand('docker')) !== undefined) {
    if (await commandSucceeds(['docker', 'version', '--format', '{{.Server.Version}}'])) return 'docker';
  }
  if ((await findCommand('buildah')) !== undefined) return 'buildah';
  throw new StartupError('No image builder found. Install Buildah, or Docker with a running daemon.', 78);
}

/** What to build. */
export interface BuildPlan {
  /** Services to build; all by default. */
  readonly names?: readonly ServiceName[] | undefined;
  /** Folder with the sources; this repository by default. */
  readonly sources?: string | undefined;
}

/**
 * Builds the images `zerda/<service>:local` and calls `onBuilt` after each.
 * NODE_IMAGE and RUNTIME_IMAGE replace the base images of the Dockerfile.
 */
export async function buildImages(
  env: NodeJS.ProcessEnv,
  onBuilt: (service: ServiceName, image: BuiltImage) => Promise<void> = async () => undefined,
  { names = services.map(({ name }) => name), sources = root }: BuildPlan = {},
): Promise<void> {
  const [builder, secrets] = await Promise.all([findBuilder(env), npmFiles()]);
  const folder = await mkdtemp(join(tmpdir(), 'zerda-images-'));
  try {
    // Sequentially, because the images share all layers except the last.
    for (const name of names) {
      const idFile = join(folder, `${name}.id`);
      console.log(`building ${name} with ${builder}`);
      const baseImages = { node: env.NODE_IMAGE, runtime: env.RUNTIME_IMAGE };
      const command = buildCommand(builder, name, { idFile, version: versionOf(name), baseImages, secrets });
      await runBuild(command, sources);
      await onBuilt(name, { builder, folder, tag: tagOf(await readFile(idFile, 'utf8')) });
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A built image. */
interface BuiltImage {
  readonly builder: Builder;
  /** Temporary folder, removed when all images are built. */
  readonly folder: string;
  readonly tag: string;
}

/**
 * Builds images and delivers them to the cluster of the current context.
 * REGISTRY is the registry to push to; the other variables are those of `buildImages`.
 * @param otherTags suffixes of further tags for the same images; none by default
 */
export async function buildAndDeliver(
  env: NodeJS.ProcessEnv,
  { otherTags = [], ...plan }: BuildPlan & { readonly otherTags?: readonly string[] } = {},
): Promise<Images> {
  const context = (await captureOutput(['kubectl', 'config', 'current-context'])).trim();
  const images = new Map<ServiceName, { repository: string; tag: string }>();
  await buildImages(
    env,
    async (name, { builder, folder, tag }) => {
      const options = { builder, context, registry: env.REGISTRY || undefined, folder };
      const delivery = planDelivery(name, tag, options);
      const furtherTags = otherTags.flatMap(
        (suffix) => planDelivery(name, `${tag}${suffix}`, options).commands,
      );
      for (const command of [...delivery.commands, ...furtherTags]) await runVisibly(command);
      images.set(name, { repository: delivery.repository, tag });
    },
    plan,
  );
  return images;
}

/** Returns the files of the local npm configuration. `npm ci` in the build needs them for a private registry. */
async function npmFiles(): Promise<{ npmrc: string | undefined; authorities: string | undefined }> {
  const setting = async (name: string): Promise<string | undefined> => {
    const file = (await captureOutput(['npm', 'config', 'get', name])).trim();
    return existsSync(file) ? file : undefined;
  };
  const [npmrc, authorities] = await Promise.all([setting('userconfig'), setting('cafile')]);
  return { npmrc, authorities };
}

/** A forwarded local port. */
export interface PortForward {
  readonly url: string;
  /** Resolves when kubectl ends. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

/**
 * Forwards a local port (0: any free port) to a Service of the cluster.
 * @throws StartupError when kubectl ends before it listens
 */
export async function forwardPort(
  namespace: string,
  service: string,
  ports: { local: number; remote: number },
): Promise<PortForward> {
  const child = spawn(
    'kubectl',
    [
      ...['port-forward', '--namespace', namespace, `service/${service}`],
      `${ports.local === 0 ? '' : ports.local}:${ports.remote}`,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let errorOutput = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errorOutput += text;
  });
  const ended = once(child, 'exit').then(() => undefined);
  const listening = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      const [, port] = /^Forwarding from 127\.0\.0\.1:(\d+) /.exec(line) ?? [];
      if (port !== undefined) return Number(port);
    }
    return undefined;
  })();
  const port = await Promise.race([listening, ended]);
  if (typeof port !== 'number') throw new StartupError(`kubectl port-forward failed: ${errorOutput.trim()}`);
  // kubectl prints a line per connection. They are discarded, because a full pipe would block it.
  child.stdout.resume();
  return {
    url: `http://127.0.0.1:${port}`,
    ended,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
