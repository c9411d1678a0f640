import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { findDocument } from '../../packages/contracts/src/openapi/documents.ts';
import { runCommand } from '../../scripts/lib/command.ts';
import { type Service, type System, startSystem } from '../kit/system.ts';
import { countReport, findShortcomings, formatReport, readLines } from './report.ts';

/** Minimum number of cases of each service, and minimum share of 2xx responses of each operation. */
const requirements = { minCases: 1000, minShare: 0.2 };

/** The same seed generates the same requests. The run must pass with any seed. */
const defaultSeed = 20;

const folder = fileURLToPath(new URL('.', import.meta.url));

/**
 * `SCHEMATHESIS=<command> npm run fuzz`: fuzzes each service with schemathesis, on fresh data, from the OpenAPI document that the
 * service serves. FUZZ_SEED (default 20) seeds the requests. FUZZ_EXAMPLES is the maximum number of examples of an operation in each phase;
 * default: that of schemathesis.toml.
 */
await runCommand(async () => {
  const command = process.env.SCHEMATHESIS;
  if (!command) {
    throw new StartupError(
      'SCHEMATHESIS is not set. Install schemathesis (python3 -m venv .venv && .venv/bin/pip install schemathesis==4.32.5) and set SCHEMATHESIS=.venv/bin/schemathesis.',
      78,
    );
  }
  const seed = process.env.FUZZ_SEED || String(defaultSeed);
  const reports = await mkdtemp(join(tmpdir(), 'zerda-fuzz-'));
  // Each service gets its own system, so that concurrent runs do not affect each other's data.
  const targets: { system: System; service: Service }[] = [];
  let passed = 0;
  let failed = 0;
  try {
    for (const name of ['users', 'orders', 'gateway'] as const) {
      // One address sends thousands of requests that no route accepts.
      const system = await startSystem({ DEMO_DATA: 'true', RATE_LIMIT_FACTOR: '1000' });
      targets.push({ system, service: system[name] });
    }
    const runs = targets.map(async ({ system, service }) => {
      const reportFile = join(reports, `${service.name}.ndjson`);
      const startedAt = performance.now();
      const { code, output } = await fuzz(command, { seed, report: reportFile, service, system });
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      const report = await countReport(readLines(reportFile), findDocument(service.name));
      const shortcomings = findShortcomings(report, requirements);
      if (code !== 0) shortcomings.push(`schemathesis exited with code ${code}`);
      console.log(`${service.name}: ${report.cases} cases with seed ${seed} in ${seconds} s`);
      console.log(formatReport(report));
      if (code !== 0) console.log(output);
      for (const line of shortcomings) console.log(`  FAILED ${line}`);
      passed += report.cases - report.failed;
      failed += Math.max(report.failed, shortcomings.length);
    });
    await Promise.all(runs);
  } finally {
    await Promise.all(targets.map(({ system }) => system.close()));
    await rm(reports, { recursive: true, force: true });
  }
  console.log(`schemathesis: ${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
});

interface FuzzOptions {
  readonly seed: string;
  /** Path of the report file. */
  readonly report: string;
  readonly service: Service;
  readonly system: System;
}

/** Runs schemathesis and resolves with its exit code and its output. */
function fuzz(
  command: string,
  { seed, report, service, system }: FuzzOptions,
): Promise<{ code: number; output: string }> {
  const child = spawn(
    command,
    [
      '--config-file',
      join(folder, 'schemathesis.toml'),
      'run',
      `${service.url}/openapi.json`,
      '--url',
      service.url,
      '--seed',
      seed,
      ...(process.env.FUZZ_EXAMPLES ? ['--max-examples', process.env.FUZZ_EXAMPLES] : []),
      '--no-color',
      '--report',
      'ndjson',
      '--report-ndjson-path',
      report,
    ],
    {
      // Schemathesis and its libraries write their caches into the working directory.
      cwd: dirname(report),
      env: {
        ...process.env,
        PYTHONPATH: folder,
        PYTHONDONTWRITEBYTECODE: '1',
        PYTHONUTF8: '1',
        FUZZ_USERS_URL: system.users.url,
        FUZZ_ORDERS_URL: system.orders.url,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', (error) =>
      reject(new StartupError(`Cannot run ${command}: ${error.message}. Check SCHEMATHESIS.`, 78)),
    );
    child.once('close', (code) => resolve({ code: code ?? 1, output }));
  });
}
