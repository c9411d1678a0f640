import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { freePort } from '../../packages/chassis/testing/port.ts';
import { runCommand } from '../../scripts/lib/command.ts';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { startGateway } from '../bench/gateway.ts';
import { loadSuite, type Suite, type SuiteResult } from './suite.ts';

/** Cache settings of the route: responses are fresh for at most five minutes, and stale only where the service allows it. */
const cacheSettings = 'request_headers: all, ttl_ms: 300000';

/** Number of concurrent tests. They mostly wait for responses to become stale. The limit is the gateway's upstream connections. */
const concurrency = 100;

/**
 * Returns routes.yaml with the cached route and the suite's own paths, which use another upstream name for the same server:
 * a write invalidates all cached responses of its upstream, and the configuration of one test must not affect other tests.
 * @param extraKeys keys to add to `cache` of the route
 */
function createRoutes(extraKeys: string | undefined): string {
  const methods = '[GET, POST, PUT, DELETE, PATCH, OPTIONS]';
  return `
upstreams: { user-service: {}, order-service: {} }
routes:
  - path: /test/*
    methods: ${methods}
    upstream: user-service
    retries: 0
    shed: off
    cache: { ${[cacheSettings, ...(extraKeys === undefined ? [] : [extraKeys])].join(', ')} }
  - { path: '/config/*', methods: [PUT], upstream: order-service, shed: off }
  - { path: '/state/*', methods: [GET], upstream: order-service, shed: off }
`;
}

/**
 * Runs the tests. Tests with unsafe methods run sequentially at the end, since each write invalidates all cached responses.
 * @param testId id of a single test to run; the suite prints its messages
 */
async function runAll({ tests, run }: Suite, testId: string | undefined): Promise<void> {
  const selected = testId === undefined ? tests : tests.filter(({ id }) => id === testId);
  if (selected.length === 0)
    throw new StartupError(`The suite has no test ${testId}. Check the value of --id.`, 78);
  if (testId !== undefined) Object.assign(selected[0] ?? {}, { dump: true });
  const writes = selected.filter(({ requests }) =>
    requests.some(({ request_method: method }) => isUnsafe(method)),
  );
  const reads = selected.filter((test) => !writes.includes(test));
  for (let index = 0; index < reads.length; index += concurrency)
    await Promise.all(reads.slice(index, index + concurrency).map(run));
  for (const test of writes) await run(test);
}

function isUnsafe(method: string | undefined): boolean {
  return method !== undefined && !['GET', 'HEAD', 'OPTIONS'].includes(method);
}

interface Counts {
  passed: number;
  failed: number;
  /** Tests whose preconditions could not be set up. */
  setup: number;
}

function count({ tests }: Suite, kind: string, results: Readonly<Record<string, SuiteResult>>): Counts {
  const counts: Counts = { passed: 0, failed: 0, setup: 0 };
  for (const { id, kind: testKind = 'required' } of tests) {
    const result = results[id];
    if (testKind !== kind || result === undefined) continue;
    if (result === true) counts.passed += 1;
    else if (result[0] === 'Setup') counts.setup += 1;
    else counts.failed += 1;
  }
  return counts;
}

function printTable(suite: Suite): void {
  console.log('| cache | required: passed | failed | not set up | optimal: passed |\n|---|--:|--:|--:|--:|');
  for (const [name, results] of [['zerda', suite.results] as const, ...suite.published]) {
    const required = count(suite, 'required', results);
    const { passed } = count(suite, 'optimal', results);
    console.log(`| ${name} | ${required.passed} | ${required.failed} | ${required.setup} | ${passed} |`);
  }
}

/**
 * `npm run cache-tests`: runs the public suite of cache-tests.fyi against the gateway as in production and prints its results with
 * those published for other caches. Exit code 1: a test listed in `passing-<edition>.txt` no longer passes.
 *
 * Options: `--checkout <folder>` uses a checkout of the suite; `--keys <keys>` adds keys to `cache` of the route;
 * `--id <id>` runs one test and prints its messages; `--write-list` updates the list.
 */
await runCommand(async () => {
  const { values } = parseArgs({
    options: {
      checkout: { type: 'string' },
      keys: { type: 'string' },
      id: { type: 'string' },
      'write-list': { type: 'boolean' },
    },
  });
  const folder = await mkdtemp(join(tmpdir(), 'zerda-cache-tests-'));
  const originPort = await freePort();
  const routesFile = join(folder, 'routes.yaml');
  await writeFile(routesFile, createRoutes(values.keys));
  const gateway = await startGateway(
    { upstreamPort: originPort },
    { env: { ...process.env, AUTH: 'off', ROUTES_FILE: routesFile } },
  );
  const suite = await loadSuite(`http://127.0.0.1:${gateway.port}`, values.checkout);
  const origin = startProcess(
    {
      name: 'origin',
      file: suite.serverScript,
      env: {
        ...process.env,
        npm_config_protocol: 'http',
        npm_config_port: String(originPort),
        npm_config_pidfile: join(folder, 'pid'),
      },
      readyUrl: `http://127.0.0.1:${originPort}/package.json`,
    },
    values.id === undefined ? () => undefined : console.log,
  );
  try {
    await origin.ready();
    await runAll(suite, values.id);
  } finally {
    await gateway.stop();
    await origin.stop();
    await rm(folder, { recursive: true });
  }
  if (values.id !== undefined) {
    console.log(suite.results[values.id]);
    return 0;
  }
  return report(suite, values['write-list'] === true);
});

/** Prints the table and the tests that no longer pass. Resolves with the exit code. */
async function report(suite: Suite, writeList: boolean): Promise<number> {
  const file = new URL(`passing-${suite.edition}.txt`, import.meta.url);
  const scored = suite.tests.filter(({ kind }) => kind !== 'check');
  const passing = scored.filter(({ id }) => suite.results[id] === true).map(({ id }) => id);
  if (writeList) await writeFile(file, `${passing.toSorted().join('\n')}\n`);
  for (const { id, kind = 'required' } of scored) {
    const result = suite.results[id];
    if (result !== true) console.log(`${kind} ${id}: ${result?.join(': ') ?? 'not run'}`);
  }
  printTable(suite);
  const listed = (await readFile(file, 'utf8')).trim().split('\n');
  const failing = listed.filter((id) => suite.results[id] !== true);
  for (const id of failing) console.error(`no longer passes: ${id}`);
  console.log(`${listed.length - failing.length} passed, ${failing.length} failed`);
  return failing.length === 0 ? 0 : 1;
}
