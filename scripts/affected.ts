import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { type Affected, areas, findAffected, type LockFile, type Snapshot } from './lib/affected.ts';
import { parseArguments, runCommand } from './lib/command.ts';
import { root, services } from './lib/services.ts';

const run = promisify(execFile);

const everything: Affected = { services: services.map(({ name }) => name), areas };

/** Reads a file of one state of the repository. */
type Reader = (path: string) => Promise<string>;

/**
 * `npm run affected -- --base <commit> [--json]`: prints the services, and `chart` and `docs`, that the changes since a commit
 * affect, one per line or as one JSON object. Changes that are not committed count. `--all` instead of a commit prints all.
 */
await runCommand(async () => {
  const { base, json } = readOptions();
  const affected = base === undefined ? everything : await compareWith(base);
  if (json) console.log(JSON.stringify(affected));
  else for (const name of [...affected.services, ...affected.areas]) console.log(name);
  return 0;
});

async function compareWith(base: string): Promise<Affected> {
  const commit = await git('rev-parse', '--verify', '--quiet', '--end-of-options', `${base}^{commit}`).catch(
    () => {
      throw new StartupError(`${base} is not a commit of this repository. Fetch it, or use another one.`, 78);
    },
  );
  const [changed, added, deleted, before] = await Promise.all([
    git('diff', '--name-only', '--no-renames', '-z', commit),
    git('ls-files', '--others', '--exclude-standard', '-z'),
    git('ls-files', '--deleted', '-z'),
    git('ls-tree', '--name-only', '-r', '-z', commit),
  ]);
  const missing = new Set(split(deleted));
  return findAffected(
    services,
    [...split(changed), ...split(added)],
    await readSnapshot((path) => git('show', `${commit}:${path}`), split(before)),
    await readSnapshot(
      (path) => readFile(join(root, path), 'utf8'),
      split(await git('ls-files', '--cached', '--others', '--exclude-standard', '-z')).filter(
        (file) => !missing.has(file),
      ),
    ),
  );
}

/** Returns the options. Without a base, all units count as affected. */
function readOptions(): { base: string | undefined; json: boolean } {
  const usage = 'Use npm run affected -- --base <commit> [--json]';
  const options = {
    base: { type: 'string' },
    all: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  } as const;
  const { base, all, json } = parseArguments({ options }, usage).values;
  if (all) return { base: undefined, json };
  if (base) return { base, json };
  throw new StartupError(`The commit to compare with is missing. ${usage}`, 78);
}

async function readSnapshot(read: Reader, files: readonly string[]): Promise<Snapshot> {
  const folders = files
    .map((file) => /^(?:(packages\/[^/]+)\/)?package\.json$/.exec(file))
    .filter((match) => match !== null);
  const manifests = folders.map(
    async ([path, folder = '']) => [folder, JSON.parse(await read(path))] as const,
  );
  return {
    manifests: new Map(await Promise.all(manifests)),
    lock: JSON.parse(await read('package-lock.json')) as LockFile,
  };
}

async function git(...args: readonly string[]): Promise<string> {
  const { stdout } = await run('git', args, { cwd: root, maxBuffer: 64 * 1024 * 1024 });
  return stdout.replace(/\n$/, '');
}

/** Splits the output of a git command with `-z`. */
function split(list: string): string[] {
  return list.split('\0').filter((file) => file !== '');
}
