import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runPipeline, type Step, type Tool } from './pipeline.ts';

const missingTool: Tool = { name: 'helm', requiredBy: 'REQUIRE_HELM', isAvailable: async () => false };

/** Runs a pipeline and returns its exit code, the steps that ran, and the lines of the summary without durations. */
async function run(steps: readonly (Omit<Step, 'run'> & { code?: number })[], env: NodeJS.ProcessEnv = {}) {
  const lines: string[] = [];
  const ran: string[] = [];
  const code = await runPipeline(
    'gateway',
    steps.map(({ code: exitCode = 0, ...step }) => ({
      ...step,
      run: async () => {
        ran.push(step.title);
        return exitCode;
      },
    })),
    { print: (line) => lines.push(line), env },
  );
  const summary = lines.slice(lines.indexOf('') + 1);
  for (const line of summary) assert.match(line, / \d+\.\d s/);
  return { code, ran, summary: summary.map((line) => line.replace(/ +\d+\.\d s/, '')) };
}

describe('a pipeline', () => {
  it('runs its steps in order and prints each with its duration, then the total', async () => {
    const { code, ran, summary } = await run([{ title: 'types' }, { title: 'tests' }]);
    assert.equal(code, 0);
    assert.deepEqual(ran, ['types', 'tests']);
    assert.deepEqual(summary, ['ok      types', 'ok      tests', 'ok      gateway']);
  });

  it('stops at the first failure', async () => {
    const { code, ran, summary } = await run([{ title: 'types', code: 2 }, { title: 'tests' }]);
    assert.equal(code, 1);
    assert.deepEqual(ran, ['types']);
    assert.deepEqual(summary, ['FAILED  types', 'not run tests', 'FAILED  gateway']);
  });

  it('skips a step whose tool is missing, and names the tool', async () => {
    const { code, ran, summary } = await run([{ title: 'lint', needs: missingTool }, { title: 'tests' }]);
    assert.equal(code, 0);
    assert.deepEqual(ran, ['tests']);
    assert.equal(summary[0], 'skipped lint  helm is missing (REQUIRE_HELM=1 makes this a failure)');
  });

  it('fails if a required tool is missing', async () => {
    const { code, ran, summary } = await run([{ title: 'lint', needs: missingTool }], { REQUIRE_HELM: '1' });
    assert.equal(code, 1);
    assert.deepEqual(ran, []);
    assert.equal(summary[0], 'FAILED  lint  helm is missing. Install it or unset REQUIRE_HELM.');
  });
});
