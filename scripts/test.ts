import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { startPostgres } from '../packages/chassis/testing/postgres.ts';
import { exitCodeOf } from './lib/child-process.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { root } from './lib/services.ts';
import { bundleTests } from './lib/test-bundler.ts';
import { formatDurations } from './lib/test-durations.ts';
import { findPrograms, findTests } from './lib/test-files.ts';
import { groupTests, writeGroups } from './lib/test-groups.ts';
import { formatSummary, readSummary, type TestSummary } from './lib/test-summary.ts';

const coverageFolder = join(root, 'coverage');
const rawCoverage = join(coverageFolder, 'tmp');
const wasmBaseline = new URL('lib/wasm-baseline.mjs', import.meta.url).href;
/** Timeout of one test file in milliseconds, so that a file that hangs is reported by name. */
const maxFileMs = 900_000;

let stopChild = (): unknown => undefined;

/**
 * `npm test -- [--coverage] [--test-…] [paths…]`: runs the tests. `--coverage`, or TEST_COVERAGE=1, measures the coverage of the tests in
 * packages/. Other options are passed to Node's test runner. The last lines of the output are the runner's summary.
 */
await runCommand(async () => {
  const cliArgs = process.argv.slice(2);
  const coverage = cliArgs.includes('--coverage') || process.env.TEST_COVERAGE === '1';
  const runnerOptions = cliArgs.filter((word) => word.startsWith('--') && word !== '--coverage');
  const { parallel, sequential } = await findTests(cliArgs.filter((word) => !word.startsWith('--')));
  const folder = await mkdtemp(join(tmpdir(), 'zerda-tests-'));
  const bundles = join(folder, 'bundles');
  const durations = join(folder, 'durations');
  if (coverage) await rm(coverageFolder, { recursive: true, force: true });

  onStopSignal(() => stopChild());
  const postgres = process.env.TEST_DATABASE_URL ? undefined : await startPostgres();
  const env = {
    ...process.env,
    TEST_TEMPLATE_DIR: folder,
    TEST_BUNDLES: bundles,
    TEST_DURATIONS: durations,
    // Tests run `npm test` in copies of the repository, which are not measured.
    TEST_COVERAGE: undefined,
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import=${wasmBaseline}`.trim(),
    ...(postgres && { TEST_DATABASE_URL: postgres.url }),
  };
  // Tests outside of packages/ measure times, which coverage would change.
  const covered = coverage ? parallel.filter((file) => file.startsWith('packages')) : [];
  const summaries: TestSummary[] = [];
  const codes: number[] = [];

  const runTests = async (
    files: readonly string[],
    concurrency: number,
    variables: NodeJS.ProcessEnv = env,
  ): Promise<void> => {
    if (files.length === 0) return;
    const tap = join(folder, `${summaries.length}.tap`);
    const groups = groupTests(files, concurrency);
    const programs = await writeGroups(groups, bundles, maxFileMs);
    const maxGroupMs = maxFileMs * Math.max(...groups.map(({ length }) => length));
    const code = await node(
      [
        ...['--enable-source-maps', '--test'],
        ...[`--test-concurrency=${concurrency}`, `--test-timeout=${maxGroupMs}`],
        ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
        ...['--test-reporter=tap', `--test-reporter-destination=${tap}`],
        ...runnerOptions,
        ...programs,
      ],
      variables,
    );
    const summary = readSummary(await readFile(tap, 'utf8').catch(() => ''));
    if (!summary) throw new StartupError('The test runner stopped before all tests had run.');
    codes.push(code);
    summaries.push(summary);
  };

  let costliest = '';
  try {
    await bundleTests([...parallel, ...sequential, ...(await findPrograms())], bundles);
    await runTests(covered, availableParallelism(), { ...env, NODE_V8_COVERAGE: rawCoverage });
    await runTests(
      parallel.filter((file) => !covered.includes(file)),
      availableParallelism(),
    );
    await runTests(sequential, 1);
    costliest = formatDurations(await readFile(durations, 'utf8').catch(() => ''));
    if (coverage) codes.push(await reportCoverage());
  } finally {
    await postgres?.stop();
    await rm(folder, { recursive: true, force: true });
  }
  console.log(`The files that used the most CPU:\n${costliest}\n\n${formatSummary(summaries)}`);
  return Math.max(...codes);
});

/** Prints line and branch coverage per file, mapped to the sources. Fails if line coverage is below 90 %. */
function reportCoverage(): Promise<number> {
  const c8 = createRequire(import.meta.url).resolve('c8/bin/c8.js');
  return node(
    [
      ...[c8, 'report', '--temp-directory', rawCoverage, '--reports-dir', coverageFolder],
      ...['--include', 'packages/*/src/**/*.ts', '--exclude', '**/*.test.ts'],
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
