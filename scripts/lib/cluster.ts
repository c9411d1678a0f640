import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { findCommand } from './chart.ts';
import { exitCodeOf, finish } from './child-process.ts';
import { type Builder, buildCommand, type Command, planDelivery, tagOf } from './images.ts';
import { root, type ServiceName, services } from './services.ts';

/** Images in a cluster, by their service. */
export type Images = ReadonlyMap<ServiceName, { repository: string; tag: string }>;

/** Runs a command and passes on what it prints. @throws StartupError when it fails */
export async function runLoudly(command: Command): Promise<void> {
  const [file, ...args] = command;
  const child = spawn(file, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: buildEnvironment(),
  });
  await finish(child, command);
}

/** Runs a command whose output matters only when it fails, and prints it then. @throws StartupError when it fails */
async function runBuild(command: Command): Promise<void> {
  const [file, ...args] = command;
  const child = spawn(file, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env: buildEnvironment() });
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece: Buffer) => output.push(piece));
  try {
    await finish(child, command);
  } catch (error) {
    process.stderr.write(Buffer.concat(output));
    throw error;
  }
}

/** Runs a command and returns what it printed. @throws StartupError with its last words when it fails */
export async function runQuietly([file, ...args]: Command): Promise<string> {
  const child = spawn(file, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let complaints = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  if ((await exitCodeOf(child)) !== 0)
    throw new StartupError(`${file} ${args.join(' ')} failed: ${complaints.trim() || output.trim()}`);
  return output;
}

/** Older Dockers build without secrets unless told to. */
function buildEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, DOCKER_BUILDKIT: '1' };
}

/** @throws StartupError that says what is missing */
export async function requireCommands(...names: readonly string[]): Promise<void> {
  for (const name of names) {
    if ((await findCommand(name)) === undefined)
      throw new StartupError(`${name} is needed, and not on the PATH.`, 78);
  }
}

/**
 * What builds images: BUILDER, or Docker where its daemon answers, or Buildah.
 * @throws StartupError when there is none
 */
async function findBuilder(env: NodeJS.ProcessEnv): Promise<Builder> {
  if (env.BUILDER === 'docker' || env.BUILDER === 'buildah') return env.BUILDER;
  if ((await findCommand('docker')) !== undefined) {
    const answers = await runQuietly(['docker', 'version', '--format', '{{.Server.Version}}']).then(
      () => true,
      () => false,
    );
    if (answers) return 'docker';
  }
  if ((await findCommand('buildah')) !== undefined) return 'buildah';
  throw new StartupError('Images are built by docker or buildah, and neither is here.', 78);
}

/**
 * Builds the images of all services, `zerda/<service>:local`, and does `next` with each as soon as it is there.
 * NODE_IMAGE and RUNTIME_IMAGE are built on instead of what the Dockerfile names.
 */
export async function buildImages(
  env: NodeJS.ProcessEnv,
  next: (service: ServiceName, image: BuiltImage) => Promise<void> = async () => undefined,
): Promise<void> {
  const [builder, secrets] = await Promise.all([findBuilder(env), npmFiles()]);
  const folder = await mkdtemp(join(tmpdir(), 'zerda-images-'));
  try {
    // One after the other: they share all layers but the last.
    for (const { name } of services) {
      const idFile = join(folder, `${name}.id`);
      console.log(`building ${name} with ${builder}`);
      const baseImages = { node: env.NODE_IMAGE, runtime: env.RUNTIME_IMAGE };
      await runBuild(buildCommand(builder, name, { idFile, baseImages, secrets }));
      await next(name, { builder, folder, tag: tagOf(await readFile(idFile, 'utf8')) });
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** An image as it was built. */
interface BuiltImage {
  readonly builder: Builder;
  /** Folder that is there until all are built. */
  readonly folder: string;
  readonly tag: string;
}

/**
 * Builds the images of all services and brings them into the cluster of the current context.
 * REGISTRY is where they are pushed; other variables are those of `buildImages`.
 * @param otherTags what to put after the tag for each further tag that the same image gets; none by default
 */
export async function buildAndDeliver(
  env: NodeJS.ProcessEnv,
  otherTags: readonly string[] = [],
): Promise<Images> {
  const context = (await runQuietly(['kubectl', 'config', 'current-context'])).trim();
  const images = new Map<ServiceName, { repository: string; tag: string }>();
  await buildImages(env, async (name, { builder, folder, tag }) => {
    const options = { builder, context, registry: env.REGISTRY || undefined, folder };
    const delivery = planDelivery(name, tag, options);
    const again = otherTags.flatMap((suffix) => planDelivery(name, `${tag}${suffix}`, options).commands);
    for (const command of [...delivery.commands, ...again]) await runLoudly(command);
    images.set(name, { repository: delivery.repository, tag });
  });
  return images;
}

/** npm's own configuration here, for the `npm ci` inside the build: a registry of one's own needs it. */
async function npmFiles(): Promise<{ npmrc: string | undefined; authorities: string | undefined }> {
  const setting = async (name: string): Promise<string | undefined> => {
    const file = (await runQuietly(['npm', 'config', 'get', name])).trim();
    return existsSync(file) ? file : undefined;
  };
  const [npmrc, authorities] = await Promise.all([setting('userconfig'), setting('cafile')]);
  return { npmrc, authorities };
}

/** A way from a port of this machine to a Service. */
export interface PortForward {
  readonly url: string;
  /** Ends when kubectl does. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

/**
 * Forwards a port of this machine (0: a free one) to a Service of the cluster.
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
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
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
  if (typeof port !== 'number') throw new StartupError(`kubectl port-forward failed: ${complaints.trim()}`);
  // Its lines about each connection are read and forgotten: a full pipe would stop it.
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
