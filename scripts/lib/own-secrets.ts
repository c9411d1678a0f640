import { randomBytes } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDataDir } from '../../packages/chassis/src/database/data-folder.ts';
import { makePrivateFile } from '../../packages/chassis/src/database/private-path.ts';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { planSystem } from './services.ts';

/** Variables that are secret, and which a system on this machine makes for itself. */
const names = ['EVENT_SECRET', 'AUTH_KEY_SECRET', 'AUTH_ADMIN_PASSWORD'] as const;

type Secrets = Record<(typeof names)[number], string>;

/** Who logs in with AUTH_ADMIN_PASSWORD: of the demo data, the admin. */
const adminEmail = 'alice@example.com';

/** Where the secrets of a system are kept, below its data folder. */
export function secretsFile(dataDir: string): string {
  return join(dataDir, 'secrets.json');
}

/**
 * The environment, with the secrets that it lacks: made up at the first run, and kept in the data folder for this user alone. The next
 * run can read what was encrypted under them, and commands can speak to services that run.
 * @throws StartupError when the file cannot be read, or belongs to another user
 */
export async function withOwnSecrets(env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  const { dataDir } = planSystem(env);
  const own = await readOrMake(dataDir);
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  // With authentication off nobody has to log in, and the demo data stay as they are.
  const wantsAdmin = given.AUTH === 'required' || given.AUTH_ADMIN_EMAIL !== undefined;
  const admin = wantsAdmin ? { AUTH_ADMIN_EMAIL: adminEmail } : { AUTH_ADMIN_PASSWORD: '' };
  return { ...own, ...admin, ...given };
}

async function readOrMake(dataDir: string): Promise<Secrets> {
  const file = secretsFile(dataDir);
  const made = {
    EVENT_SECRET: secret(),
    AUTH_KEY_SECRET: secret(),
    AUTH_ADMIN_PASSWORD: randomBytes(12).toString('base64url'),
  };
  await makePrivateFile(file);
  await makeDataDir(dataDir);
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(temporary, `${JSON.stringify(made, undefined, 2)}\n`, { mode: 0o600 });
  try {
    // Fails when it is there: of two runs at once, one makes it, and the other finds it whole.
    await link(temporary, file);
    return made;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return await read(file);
  } finally {
    await rm(temporary);
  }
}

async function read(file: string): Promise<Secrets> {
  try {
    const kept = JSON.parse(await readFile(file, 'utf8')) as Partial<Secrets>;
    for (const name of names) if (typeof kept[name] !== 'string') throw new Error(`${name} is missing`);
    return kept as Secrets;
  } catch (cause) {
    throw new StartupError(
      `${file} does not hold the secrets of this system; remove it with npm run reset, which removes the data too`,
      1,
      { cause },
    );
  }
}

function secret(): string {
  return randomBytes(32).toString('hex');
}
