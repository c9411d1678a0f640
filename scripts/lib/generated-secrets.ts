import { createHmac, randomBytes } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDataDir } from '../../packages/chassis/src/database/data-folder.ts';
import { makePrivateFile } from '../../packages/chassis/src/database/private-path.ts';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { planSystem } from './services.ts';

/** Secret variables that are generated for a local system. */
const secretNames = ['EVENT_SECRET', 'AUTH_KEY_SECRET', 'AUTH_ADMIN_PASSWORD'] as const;

type Secrets = Record<(typeof secretNames)[number], string>;

/** E-mail address of the admin in the demo data, who logs in with AUTH_ADMIN_PASSWORD. */
const adminEmail = 'alice@example.com';

/** Returns the path of the secrets file in the data folder. */
export function secretsFile(dataDir: string): string {
  return join(dataDir, 'secrets.json');
}

/**
 * Returns the environment with missing secrets added. They are generated at the first run and stored in the data folder,
 * readable by the current user only. Later runs and commands use the same secrets.
 * @throws StartupError when the file cannot be read, or belongs to another user
 */
export async function withGeneratedSecrets(env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  const { dataDir } = planSystem(env);
  const generated = await readOrCreate(dataDir);
  const setVariables = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  // Without authentication no login is needed, so the demo data stay unchanged.
  const wantsAdmin = setVariables.AUTH === 'required' || setVariables.AUTH_ADMIN_EMAIL !== undefined;
  const admin = wantsAdmin ? { AUTH_ADMIN_EMAIL: adminEmail } : { AUTH_ADMIN_PASSWORD: '' };
  // Derived, so that the stored secrets need no further member.
  const management = { MANAGEMENT_SECRET: hmac(generated.EVENT_SECRET, 'management') };
  return { ...generated, ...management, ...admin, ...setVariables };
}

async function readOrCreate(dataDir: string): Promise<Secrets> {
  const file = secretsFile(dataDir);
  const newSecrets = {
    EVENT_SECRET: randomSecret(),
    AUTH_KEY_SECRET: randomSecret(),
    AUTH_ADMIN_PASSWORD: randomBytes(12).toString('base64url'),
  };
  await makePrivateFile(file);
  await makeDataDir(dataDir);
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(temporary, `${JSON.stringify(newSecrets, undefined, 2)}\n`, { mode: 0o600 });
  try {
    // `link` fails if the file exists: of two concurrent runs, one creates it and the other reads the complete file.
    await link(temporary, file);
    return newSecrets;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return await readSecrets(file);
  } finally {
    await rm(temporary);
  }
}

async function readSecrets(file: string): Promise<Secrets> {
  try {
    const stored = JSON.parse(await readFile(file, 'utf8')) as Partial<Secrets>;
    for (const name of secretNames)
      if (typeof stored[name] !== 'string') throw new Error(`${name} is missing`);
    return stored as Secrets;
  } catch (cause) {
    throw new StartupError(
      `${file} does not contain the secrets of this system. Remove it with "npm run reset", which also removes the data.`,
      1,
      { cause },
    );
  }
}

function hmac(secret: string, text: string): string {
  return createHmac('sha256', secret).update(text).digest('hex');
}

function randomSecret(): string {
  return randomBytes(32).toString('hex');
}
