import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { captureOutput } from './child-process.ts';
import { type DeployedService, type Deployment, readDeployment } from './deployments.ts';
import type { ServiceName } from './services.ts';

/** Returns the path of an environment's file, relative to the repository. */
export function deploymentFile(environment: string): string {
  return `deploy/${environment}.yaml`;
}

/** Returns the text of `deploy/<environment>.yaml` with another version of a service. Comments and the other lines stay. */
export function withDeployedService(
  text: string,
  service: ServiceName,
  { version, digest }: DeployedService,
): string {
  const document = parseDocument(text);
  document.setIn(['services', service, 'version'], version);
  if (digest === undefined) document.deleteIn(['services', service, 'digest']);
  else document.setIn(['services', service, 'digest'], digest);
  return document.toString({ lineWidth: 0 });
}

/**
 * Writes another version of a service to an environment's file below `directory`.
 * @throws StartupError (78) if the environment does not exist, or if version or digest are invalid; the file is then unchanged
 */
export async function setDeployedService(
  environment: string,
  service: ServiceName,
  deployed: DeployedService,
  known: readonly ServiceName[],
  directory: string,
): Promise<void> {
  await readDeployment(environment, known, directory);
  const file = join(directory, deploymentFile(environment));
  const text = withDeployedService(await readFile(file, 'utf8'), service, deployed);
  await parseText(environment, text, known);
  await writeFile(file, text);
}

/**
 * Returns what was deployed before the current version of a service, from the commits that changed the environment's file.
 * @throws StartupError if there is no earlier version
 */
export async function findPreviousVersion(
  environment: string,
  service: ServiceName,
  known: readonly ServiceName[],
  directory: string,
): Promise<DeployedService> {
  const current = (await readDeployment(environment, known, directory)).get(service);
  const file = deploymentFile(environment);
  const git = (...args: string[]) => captureOutput(['git', ...args], { cwd: directory });
  const commits = (await git('log', '--format=%H', '--', file)).trim().split('\n');
  for (const commit of commits.filter((hash) => hash !== '')) {
    // A commit that removed the file has none, and an early file may be invalid or name a service that no longer exists.
    const before = await git('show', `${commit}:${file}`)
      .then((text) => parseText(environment, text, known))
      .catch(() => undefined);
    const deployed = before?.get(service);
    if (deployed !== undefined && !isSame(deployed, current)) return deployed;
  }
  throw new StartupError(
    `The commits of ${file} contain no earlier version of ${service}. Use npm run deploy:set.`,
  );
}

function isSame(one: DeployedService, other: DeployedService | undefined): boolean {
  return one.version === other?.version && one.digest === other.digest;
}

/** Validates the text of an environment's file like the file itself. */
async function parseText(
  environment: string,
  text: string,
  known: readonly ServiceName[],
): Promise<Deployment> {
  const folder = await mkdtemp(join(tmpdir(), 'zerda-deployment-'));
  try {
    await mkdir(join(folder, 'deploy'));
    await writeFile(join(folder, deploymentFile(environment)), text);
    return await readDeployment(environment, known, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
