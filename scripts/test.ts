import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../packages/chassis/src/database/testing-postgres.ts';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { exitCodeOf } from './lib/child-process.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { root } from './lib/services.ts';
import { findTests } from './lib/test-files.ts';
import { formatSummary, readSummary, type TestSummary } from './lib/test-summary.ts';

const coverageFolder = join(root, 'coverage');
const rawCoverage = join(coverageFolder, 'tmp');
/** Milliseconds that a file of tests may take: one that hangs fails by its name instead of holding up all of them. */
const longestFileMs = 600_000;

let stopChild = (): unknown => undefined;

/**
 * `npm test -- [--coverage] [--test-…] [paths…]`: options but `--coverage` go to the runner of Node as they are.
 * The closing lines of the runner are the last ones printed, whatever comes before.
 */
await runCommand(async () => {
  const words = process.argv.slice(2);
  const coverage = words.includes('--coverage');
  const runnerOptions = words.filter((word) => word.startsWith('--') && word !== '--coverage');
  const { units, systems } = await findTests(words.filter((word) => !word.startsWith('--')));
  const reports = await mkdtemp(join(tmpdir(), 'zerda-tests-'));
  if (coverage) await rm(coverageFolder, { recursive: true, force: true });

  onStopSignal(() => stopChild());
  const postgres = process.env.TEST_DATABASE_URL ? undefined : await startPostgres();
  const env = {
    ...process.env,
    ...(postgres && { TEST_DATABASE_URL: postgres.url }),
    ...(coverage && { NODE_V8_COVERAGE: rawCoverage }),
  };
  const summaries: TestSummary[] = [];
  const codes: number[] = [];

  const runTests = async (files: readonly string[], concurrency: number): Promise<void> => {
    if (files.length === 0) return;
    const tap = join(reports, `${summaries.length}.tap`);
    const code = await node(
      [
        ...['--import', 'tsx', '--test'],
        ...[`--test-concurrency=${concurrency}`, `--test-timeout=${longestFileMs}`],
        ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
        ...['--test-reporter=tap', `--test-reporter-destination=${tap}`],
        ...runnerOptions,
        ...files,
      ],
      env,
    );
    const summary = readSummary(await readFile(tap, 'utf8').catch(() => ''));
    if (!summary) throw new StartupError('The run was cut short.');
    codes.push(code);
    summaries.push(summary);
  };

  try {
    await runTests(units, availableParallelism());
    await runTests(systems, 1);
    if (coverage) codes.push(await reportCoverage());
  } finally {
    await postgres?.stop();
    await rm(reports, { recursive: true, force: true });
  }
  console.log(formatSummary(summaries));
  return Math.max(...codes);
});

/** Prints lines and branches a file, maps bundles back to their sources, and fails below the least share of lines. */
function reportCoverage(): Promise<number> {
  const c8 = createRequire(import.meta.url).resolve('c8/bin/c8.js');
  return node(
    [
      ...[c8, 'report', '--temp-directory', rawCoverage, '--reports-dir', coverageFolder],
      ...['--include', 'packages/*/src/**/*.ts', '--exclude', '**/*.test.ts', '--exclude', '**/testing*.ts'],
      ...['--exclude-after-remap', '--reporter', 'text', '--reporter', 'lcovonly'],
      ...['--check-coverage', '--lines', '90'],
    ],
    process.env,
  );
}

function node(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(process.execPath, args, { cwd: root, env, stdio: 'inherit' });
  stopChild = () => child.kill('SIGTERM');
  return exitCodeOf(child);
}
