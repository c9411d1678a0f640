import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { root, type ServiceName } from './services.ts';

/** Schema of a version: major, minor and patch, optionally with a prerelease. */
export const version = z
  .string('must be a version such as "1.2.3"')
  .regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/, 'must be a version such as "1.2.3"');

const deployedService = z.strictObject({
  version: version.describe('Deployed version, without `v`.'),
  digest: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/, 'must be "sha256:" and 64 hexadecimal digits')
    .optional()
    .describe('Digest of the deployed image; absent if the tag alone selects it.'),
});

/** Content of `deploy/<environment>.yaml`: which version of each service runs in the environment. */
const deployment = z.strictObject({
  services: z
    .record(z.string(), deployedService)
    .describe('Services by name. A service that is not deployed is absent.'),
});

export type DeployedService = z.infer<typeof deployedService>;

/** Versions in an environment, by service. */
export type Deployment = ReadonlyMap<ServiceName, DeployedService>;

const folder = 'deploy';

/** Returns the names of the environments that have a file in `deploy/`. */
export async function findEnvironments(directory = root): Promise<string[]> {
  const files = await readdir(join(directory, folder)).catch(() => []);
  return files.filter((file) => file.endsWith('.yaml')).map((file) => file.slice(0, -'.yaml'.length));
}

/**
 * Returns the versions in an environment.
 * @param known names of the services that the file may contain
 * @throws StartupError (78) if the file is missing or invalid
 */
export async function readDeployment(
  environment: string,
  known: readonly ServiceName[],
  directory = root,
): Promise<Deployment> {
  const environments = await findEnvironments(directory);
  if (!environments.includes(environment)) {
    const found = environments.length === 0 ? 'There is none.' : `Use one of: ${environments.join(', ')}.`;
    throw new StartupError(`${environment} is not an environment in ${folder}/. ${found}`, 78);
  }
  const file = `${folder}/${environment}.yaml`;
  const fail = (problem: string) => new StartupError(`${file}: ${problem}. Correct the file.`, 78);
  let content: unknown;
  try {
    content = parse(await readFile(join(directory, file), 'utf8'));
  } catch (error) {
    if (error instanceof YAMLParseError) throw fail(error.message.split('\n', 1)[0] ?? '');
    throw error;
  }
  const parsed = deployment.safeParse(content);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw fail(`${issue?.path.join('.')} ${issue?.message}`.trim());
  }
  const entries = Object.entries(parsed.data.services);
  const unknown = entries.find(([name]) => !known.includes(name));
  if (unknown !== undefined) throw fail(`${unknown[0]} is not a service of this repository`);
  return new Map(entries);
}
