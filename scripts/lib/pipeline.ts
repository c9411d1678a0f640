/** A part of a pipeline. */
export interface Step {
  readonly title: string;
  /** Command line that the step runs; none if it calls a function. */
  readonly command?: readonly string[];
  /** Runs the step and returns its exit code. */
  run(): Promise<number>;
  /** Tool that the step needs besides Node and npm packages; none by default. */
  readonly needs?: Tool;
}

export interface Tool {
  /** Name in messages. */
  readonly name: string;
  /** Environment variable that makes a missing tool a failure with the value 1. */
  readonly requiredBy: string;
  isAvailable(): Promise<boolean>;
}

/** Outcome of a step, with its duration. */
interface StepResult {
  readonly outcome: 'ok' | 'FAILED' | 'skipped' | 'not run';
  readonly title: string;
  readonly milliseconds: number;
  /** Reason of an outcome other than success; empty if the step printed it. */
  readonly reason: string;
}

export interface PipelineOptions {
  /** Writes a line of output. */
  readonly print: (line: string) => void;
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Runs the steps in order until one fails, then prints one line per step with its duration, and the total. A step whose tool is
 * missing is skipped, or fails if the tool is required.
 * @returns exit code: 0 if no step failed
 */
export async function runPipeline(
  name: string,
  steps: readonly Step[],
  { print, env }: PipelineOptions,
): Promise<number> {
  const results: StepResult[] = [];
  const startedAt = performance.now();
  for (const step of steps) {
    const { title } = step;
    if (results.some(({ outcome }) => outcome === 'FAILED')) {
      results.push({ outcome: 'not run', title, milliseconds: 0, reason: '' });
      continue;
    }
    print(`==> ${name}: ${title}`);
    const stepStartedAt = performance.now();
    const { outcome, reason } = await runStep(step, env);
    results.push({ outcome, title, milliseconds: performance.now() - stepStartedAt, reason });
  }
  const failed = results.some(({ outcome }) => outcome === 'FAILED');
  const total = seconds(performance.now() - startedAt);
  print('');
  for (const { outcome, title, milliseconds, reason } of results)
    print(`${outcome.padEnd(8)}${title.padEnd(20)}${seconds(milliseconds)}  ${reason}`.trimEnd());
  print(`${(failed ? 'FAILED' : 'ok').padEnd(8)}${name.padEnd(20)}${total}`);
  return failed ? 1 : 0;
}

async function runStep(
  { run, needs }: Step,
  env: NodeJS.ProcessEnv,
): Promise<Pick<StepResult, 'outcome' | 'reason'>> {
  if (needs !== undefined && !(await needs.isAvailable())) {
    const { name, requiredBy } = needs;
    return env[requiredBy] === '1'
      ? { outcome: 'FAILED', reason: `${name} is missing. Install it or unset ${requiredBy}.` }
      : { outcome: 'skipped', reason: `${name} is missing (${requiredBy}=1 makes this a failure)` };
  }
  return { outcome: (await run()) === 0 ? 'ok' : 'FAILED', reason: '' };
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1).padStart(7)} s`;
}
