import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { contracts } from '../packages/contracts/src/services.ts';
import { parseArguments, runCommand } from './lib/command.ts';
import { root, services } from './lib/services.ts';
import { changeLists, writeFiles } from './service-lists/change-lists.ts';
import { registrations } from './service-lists/registrations.ts';
import { serviceNames } from './service-lists/service-names.ts';
import { updateDerivedFiles } from './service-lists/update-derived-files.ts';

const run = promisify(execFile);

/** Services that others of the repository use by name: in aggregates, projections, issuers of tokens and tests. */
const permanent = ['gateway', 'user-service', 'order-service'];

/** `npm run remove-service -- <name>`: removes a service that `npm run new-service` created. Writes nothing if a step is not possible. */
await runCommand(async () => {
  const name = readName();
  const service = services.find((candidate) => candidate.name === name);
  if (service === undefined || permanent.includes(name)) {
    const removable = services.map((other) => other.name).filter((other) => !permanent.includes(other));
    throw new StartupError(
      `${name} is not a service that can be removed. Those are: ${removable.join(', ') || 'none'}.`,
    );
  }
  const folders = [`packages/${name}`, `packages/contracts/src/${name}`];
  await requireUnreferenced(name, folders);

  const { database, port, subscribesTo } = service;
  const lists = registrations({ ...serviceNames(name), port, database, subscribesTo, routes: [] });
  const changed = await changeLists(lists, 'remove');
  const contract = contracts.find((candidate) => candidate.name === name);
  const generated = [
    `packages/contracts/openapi/${name}.json`,
    ...Object.values(contract?.sends?.events ?? {}).map(
      ({ type }) => `packages/contracts/events/${type}.json`,
    ),
  ];
  await writeFiles(changed);
  for (const path of [...folders, ...generated]) await rm(join(root, path), { recursive: true, force: true });
  await updateDerivedFiles(changed.map(({ file }) => file));

  console.log(`Removed ${name}. Changed:\n${changed.map(({ file }) => `  ${file}\n`).join('')}`);
  console.log(`Its data remains: .data/${name}, databases and volumes.`);
  return 0;
});

function readName(): string {
  const usage = 'Use npm run remove-service -- <name>';
  const [name, ...more] = parseArguments({ allowPositionals: true }, usage).positionals;
  if (name === undefined || more.length > 0) throw new StartupError(usage, 78);
  return name;
}

/** @throws StartupError if code outside of the service imports its contract or code */
async function requireUnreferenced(name: string, folders: readonly string[]): Promise<void> {
  const { stdout } = await run(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '*.ts'],
    {
      cwd: root,
    },
  );
  const own = [...folders.map((folder) => `${folder}/`), 'packages/contracts/src/services.ts'];
  const others = stdout
    .split('\0')
    .filter((file) => file !== '' && !own.some((path) => file.startsWith(path)));
  const imports = new RegExp(`from '(?:[^']*/)?${name}/`);
  const importing: string[] = [];
  for (const file of others)
    if (imports.test(await readFile(join(root, file), 'utf8').catch(() => ''))) importing.push(file);
  if (importing.length > 0)
    throw new StartupError(`These files import ${name}. Change them first:\n${importing.join('\n')}`);
}
