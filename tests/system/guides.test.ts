import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { after, before, describe, it } from 'node:test';
import { freePorts } from '../../packages/chassis/testing/port.ts';

import { eventually } from '../../packages/chassis/testing/wait.ts';
import { captureOutput } from '../../scripts/lib/child-process.ts';
import { linkModules } from '../../scripts/lib/link-modules.ts';
import { root } from '../../scripts/lib/services.ts';
import { comparableOutput, type DocumentedCommand, readCommands } from '../kit/documented-commands.ts';

const skip = process.platform === 'win32';

describe('guides that change code, applied to one copy', { skip }, () => {
  const guides = ['add-a-field', 'add-an-event', 'add-a-policy'].map((name) => {
    const page = `docs/guides/${name}.md`;
    return { page, lines: readCommands(page).flatMap(({ command }) => command.trimEnd().split('\n')) };
  });
  /** Commands that generate files and check all types. They run once, because they take much longer than the tests. */
  const shared = guides[0]?.lines.filter((line) => guides.every(({ lines }) => lines.includes(line))) ?? [];
  let copy: string;

  before(async () => {
    copy = await copyRepository();
    for (const { page } of guides) await applyChanges(page, copy);
    assert.deepEqual(shared, ['npm run generate', 'npm run typecheck']);
    for (const line of shared) await runBash(line, copy);
  });
  after(() => removeCopy(copy));

  it('compile and pass their tests', async () => {
    const testCommand = /^npm test -- (.+)$/;
    // In one run, because most of its time is the start.
    const paths = guides.map(({ page, lines }) => {
      const [line = '', ...others] = lines.filter((each) => !shared.includes(each));
      const [, tests] = testCommand.exec(line) ?? [];
      assert.ok(tests !== undefined && others.length === 0, `${page}: ${line}`);
      return tests;
    });
    const output = await runBash(`npm test -- ${paths.join(' ')}`, copy);
    for (const path of paths.join(' ').split(' ')) assert.ok(output.includes(`✔ ${path} (`), output);
  });
});

/** Guides that run the gateway in front of other services: the files that they create, and the ports in them. */
const gatewayGuides = [
  { page: 'docs/guides/add-a-route.md', files: ['catalog.mjs', 'catalog-routes.yaml'], ports: ['8100'] },
  {
    page: 'docs/guides/take-the-gateway.md',
    files: ['shop.mjs', 'shop-routes.yaml'],
    ports: ['8100', '8101'],
  },
];

for (const { page, files, ports } of gatewayGuides)
  describe(page, { skip }, () => {
    it('forwards to the services of the guide', async (context) => {
      const copy = await copyRepository();
      context.after(() => removeCopy(copy));
      await applyChanges(page, copy);
      const [gateway = 0, management = 0, ...free] = await freePorts(2 + ports.length);
      const adapt = (text: string) =>
        ports.reduce(
          (adapted, port, index) => adapted.replaceAll(port, String(free[index])),
          text.replaceAll('8000', String(gateway)),
        );
      for (const file of files)
        await writeFile(join(copy, file), adapt(await readFile(join(copy, file), 'utf8')));

      for (const documented of readCommands(page)) {
        const command = adapt(documented.command);
        if (command.startsWith('node ') || command.includes('npm run gateway')) {
          const env = { ...process.env, PORT: String(gateway), MANAGEMENT_PORT: String(management) };
          const child = spawn(
            'bash',
            ['-c', `exec ${command.replace(' &', '')}`.replace('exec AUTH', 'AUTH')],
            {
              cwd: copy,
              env,
              detached: true,
              stdio: 'ignore',
            },
          );
          context.after(() => child.pid && process.kill(-child.pid, 'SIGTERM'));
        } else {
          await eventually(
            () => assertOutput({ ...documented, command }, copy, adapt),
            'the documented output',
            60_000,
          );
        }
      }
    });
  });

async function assertOutput(
  { command, output }: DocumentedCommand,
  cwd: string,
  adapt: (text: string) => string,
): Promise<void> {
  const stdout = await runBash(command, cwd);
  if (output === undefined) return;
  const expected = comparableOutput(adapt(output.text), output.language);
  assert.deepEqual(comparableOutput(stdout, output.language), expected);
}

/** Copies the repository. The packages of the copy import one another; installed dependencies are shared. */
async function copyRepository(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'zerda-guide-'));
  const skipped = new Set(['node_modules', 'dist', '.git', '.data', 'coverage']);
  for (const entry of await readdir(root)) {
    if (skipped.has(entry)) continue;
    await cp(join(root, entry), join(copy, entry), {
      recursive: true,
      filter: (source) => !/[\\/](node_modules|results)$/.test(source),
    });
  }
  await linkModules(copy);
  return copy;
}

const removeCopy = (copy: string) => rm(copy, { recursive: true, force: true, maxRetries: 3 });

/** Applies the code blocks of a page: a path in backticks, then a new file or changes of that file. */
async function applyChanges(page: string, copy: string): Promise<void> {
  const text = readFileSync(join(root, page), 'utf8');
  let path = '';
  for (const block of text.matchAll(/^`([^`\n]+)`$|^```(\w+)\n(.*?)^```$/gms)) {
    const [, named, language, content = ''] = block;
    if (named !== undefined) path = named;
    else if (language === 'diff') await applyDiff(join(copy, path), content);
    else if (path !== '' && ['ts', 'js', 'sql', 'yaml'].includes(language ?? '')) {
      await mkdir(dirname(join(copy, path)), { recursive: true });
      await writeFile(join(copy, path), content);
      path = '';
    }
  }
}

/** Applies a diff to a file. Context and removed lines need to match only the beginning of a line. */
async function applyDiff(file: string, diff: string): Promise<void> {
  const lines = (await readFile(file, 'utf8')).split('\n');
  const changes = diff.trimEnd().split('\n');
  const expected = changes.filter((line) => !line.startsWith('+')).map((line) => line.slice(1));
  const position = lines.findIndex((_, start) =>
    expected.every((beginning, offset) => lines[start + offset]?.startsWith(beginning)),
  );
  assert.notEqual(position, -1, `${file} does not contain\n${expected.join('\n')}`);
  let source = position;
  const changed: string[] = [];
  let removed = '';
  for (const line of changes) {
    const beginning = line.slice(1);
    if (line.startsWith('+')) {
      // A diff may show the beginning of a long line only.
      changed.push(beginning + removed);
      removed = '';
    } else {
      const whole = lines[source] ?? '';
      source += 1;
      if (line.startsWith('-')) removed = whole.slice(beginning.length);
      else changed.push(whole);
    }
  }
  lines.splice(position, expected.length, ...changed);
  await writeFile(file, lines.join('\n'));
}

function runBash(command: string, cwd: string): Promise<string> {
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  return captureOutput(['bash', '-ec', command], { cwd, env });
}
