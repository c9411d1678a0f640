import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import packageJson from '../../package.json' with { type: 'json' };
import { findCommand } from '../../scripts/lib/chart.ts';
import { root } from '../../scripts/lib/services.ts';

const run = promisify(execFile);
const folder = '.github/workflows';
const linters = [
  {
    name: 'actionlint',
    requiredBy: 'REQUIRE_ACTIONLINT',
    command: await findCommand('actionlint'),
    args: ['-no-color'],
  },
  {
    name: 'zizmor',
    requiredBy: 'REQUIRE_ZIZMOR',
    command: await findCommand('zizmor'),
    args: ['--offline', '--no-progress', '--color=never', '.github'],
  },
];
const files = (await readdir(join(root, folder))).sort();

interface Job {
  readonly needs?: string | readonly string[];
  readonly if?: string;
  readonly permissions?: object;
  readonly uses?: string;
  readonly 'timeout-minutes'?: number;
  readonly strategy?: { readonly matrix: Readonly<Record<string, string>> };
  readonly steps?: readonly { readonly run?: string; readonly if?: string }[];
}

interface Workflow {
  readonly permissions?: object;
  readonly jobs: Readonly<Record<string, Job>>;
}

const read = (file: string): Promise<string> => readFile(join(root, folder, file), 'utf8');
const readWorkflow = async (file: string): Promise<Workflow> => parse(await read(file));

for (const file of files) {
  describe(`workflow ${file}`, () => {
    it('names each action by the hash of a commit, with its version beside it', async () => {
      for (const [line, action = ''] of (await read(file)).matchAll(/^.*\buses: (.*)$/gm)) {
        if (action.startsWith('./')) assert.ok(existsSync(join(root, action)), action);
        else assert.match(line, /uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+(\.\d+)+$/);
      }
    });

    it('gives each job its own permissions, and no long-lived secret', async () => {
      const { permissions, jobs } = await readWorkflow(file);
      assert.deepEqual(permissions, {});
      for (const [name, job] of Object.entries(jobs)) assert.ok(job.permissions !== undefined, name);
      assert.doesNotMatch(await read(file), /\bsecrets\b/);
    });

    it('limits the time of each job', async () => {
      for (const [name, job] of Object.entries((await readWorkflow(file)).jobs))
        assert.ok(job.uses !== undefined || job['timeout-minutes'] !== undefined, name);
    });

    it('runs only npm commands of package.json', async () => {
      for (const [, script = ''] of (await read(file)).matchAll(/\bnpm run (?:--silent )?([\w:-]+)/g))
        assert.ok(Object.hasOwn(packageJson.scripts, script), script);
    });
  });
}

describe('workflow ci.yml', () => {
  it('runs the pipeline of each affected unit, and none if there is none', async () => {
    const { pipeline } = (await readWorkflow('ci.yml')).jobs;
    assert.equal(pipeline?.uses, `./${folder}/pipeline.yml`);
    assert.equal(pipeline.if, "needs.affected.outputs.units != '[]'");
    assert.match(pipeline.strategy?.matrix.unit ?? '', /fromJSON\(needs\.affected\.outputs\.units\)/);
  });

  it('has one check that fails if any job fails and passes if jobs are skipped', async () => {
    const { passed, ...others } = (await readWorkflow('ci.yml')).jobs;
    assert.deepEqual(passed?.needs, Object.keys(others));
    assert.equal(passed.if, 'always()');
    const [step] = passed.steps ?? [];
    assert.equal(step?.if, "contains(needs.*.result, 'failure') || contains(needs.*.result, 'cancelled')");
    assert.equal(step?.run, 'exit 1');
  });
});

describe('linters of workflows', () => {
  for (const { name, command, args, requiredBy } of linters) {
    const skip = command === undefined && process.env[requiredBy] !== '1' && `${name} is not on the PATH`;
    it(`${name} finds nothing${skip ? `: skipped, ${skip}` : ''}`, { skip }, async () => {
      assert.ok(command, `${name} is not on the PATH. Install it or unset ${requiredBy}.`);
      await run(command, args, { cwd: root }).catch((error: { stdout: string; stderr: string }) => {
        assert.fail(`${error.stdout}${error.stderr}`);
      });
    });
  }
});
