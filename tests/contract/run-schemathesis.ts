import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { documents } from '../../packages/contracts/src/openapi/documents.ts';
import { runCommand } from '../../scripts/lib/command.ts';
import { type Service, type System, startSystem } from '../system/lib/system.ts';
import { countReport, formatReport, linesOf, shortcomings } from './report.ts';

/** What each service must have gone through. */
const requirements = { leastCases: 1000, leastShare: 0.2 };

/** Same seed, same requests; any other must pass too. */
const defaultSeed = 20;

const folder = fileURLToPath(new URL('.', import.meta.url));

/**
 * `SCHEMATHESIS=<the command> npm run fuzz`: has schemathesis try each of the three services, on fresh data, by the
 * OpenAPI document that it serves. FUZZ_SEED (default 20) chooses the requests.
 */
await runCommand(async () => {
  const command = process.env.SCHEMATHESIS;
  if (!command) {
    throw new StartupError(
      'Set SCHEMATHESIS to the command of schemathesis: python3 -m venv .venv && .venv/bin/pip install schemathesis==4.32.5, then SCHEMATHESIS=.venv/bin/schemathesis.',
      78,
    );
  }
  const seed = process.env.FUZZ_SEED || String(defaultSeed);
  const reports = await mkdtemp(join(tmpdir(), 'zerda-fuzz-'));
  // Each service with a system of its own, so that they can be tried side by side: what one run writes is in no other's way.
  const tried: { system: System; service: Service }[] = [];
  let passed = 0;
  let failed = 0;
  try {
    for (const one of ['users', 'orders', 'gateway'] as const) {
      // One address sends thousands of requests that no route takes.
      const system = await startSystem({ DEMO_DATA: 'true', RATE_LIMIT_FACTOR: '1000' });
      tried.push({ system, service: system[one] });
    }
    const runs = tried.map(async ({ system, service }) => {
      const report = join(reports, `${service.name}.ndjson`);
      const begun = performance.now();
      const { code, output } = await fuzz(command, { seed, report, service, system });
      const seconds = ((performance.now() - begun) / 1000).toFixed(1);
      const counted = await countReport(linesOf(report), documents[service.name]);
      const lacking = shortcomings(counted, requirements);
      if (code !== 0) lacking.push(`schemathesis ended with exit code ${code}`);
      console.log(`${service.name}: ${counted.cases} cases with seed ${seed} in ${seconds} s`);
      console.log(formatReport(counted));
      if (code !== 0) console.log(output);
      for (const line of lacking) console.log(`  FAILED ${line}`);
      passed += counted.cases - counted.failed;
      failed += Math.max(counted.failed, lacking.length);
    });
    await Promise.all(runs);
  } finally {
    await Promise.all(tried.map(({ system }) => system.close()));
    await rm(reports, { recursive: true, force: true });
  }
  console.log(`schemathesis: ${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
});

interface Fuzzing {
  readonly seed: string;
  /** File to write the report to. */
  readonly report: string;
  readonly service: Service;
  readonly system: System;
}

/** One run of schemathesis; `output` is what it printed. */
function fuzz(
  command: string,
  { seed, report, service, system }: Fuzzing,
): Promise<{ code: number; output: string }> {
  const child = spawn(
    command,
    [
      ...['--config-file', join(folder, 'schemathesis.toml'), 'run', `${service.url}/openapi.json`],
      ...['--url', service.url, '--seed', seed, '--no-color'],
      ...['--report', 'ndjson', '--report-ndjson-path', report],
    ],
    {
      // Where its tools leave their caches.
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
      reject(new StartupError(`${command} cannot be run: ${error.message}`, 78)),
    );
    child.once('close', (code) => resolve({ code: code ?? 1, output }));
  });
}
