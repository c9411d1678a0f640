import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { runCommand } from '../../scripts/lib/command.ts';
import { freePorts } from '../../scripts/lib/ports.ts';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { startGateway } from '../bench/gateway.ts';
import { loadSuite, type Suite, type SuiteResult } from './suite.ts';

/** Settings of the cached route: fresh for five minutes at most, stale only where the service allows it. */
const cacheSettings = 'request_headers: all, ttl_ms: 300000';

/** Tests that run at once: they mostly wait for responses to become stale. More are more than the gateway has connections for. */
const atOnce = 100;

/**
 * The cached route and the suite's own paths, which go to the same server under another name: a write makes all that is cached of its
 * upstream stale, and configuration of one test must not end another one.
 */
function tableWith(more: string | undefined): string {
  const methods = '[GET, POST, PUT, DELETE, PATCH, OPTIONS]';
  return `
upstreams: { user-service: {}, order-service: {} }
routes:
  - path: /test/*
    methods: ${methods}
    upstream: user-service
    retries: 0
    shed: off
    cache: { ${[cacheSettings, ...(more === undefined ? [] : [more])].join(', ')} }
  - { path: '/config/*', methods: [PUT], upstream: order-service, shed: off }
  - { path: '/state/*', methods: [GET], upstream: order-service, shed: off }
`;
}

/**
 * Runs the tests: those with unsafe methods one after another at the end, since each write makes the whole upstream stale.
 * @param only id of the one test to run, which prints its messages
 */
async function runAll({ tests, run }: Suite, only: string | undefined): Promise<void> {
  const chosen = only === undefined ? tests : tests.filter(({ id }) => id === only);
  if (chosen.length === 0) throw new StartupError(`The suite has no test ${only}.`, 78);
  if (only !== undefined) Object.assign(chosen[0] ?? {}, { dump: true });
  const writes = chosen.filter(({ requests }) =>
    requests.some(({ request_method: method }) => isUnsafe(method)),
  );
  const reads = chosen.filter((test) => !writes.includes(test));
  for (let index = 0; index < reads.length; index += atOnce)
    await Promise.all(reads.slice(index, index + atOnce).map(run));
  for (const test of writes) await run(test);
}

function isUnsafe(method: string | undefined): boolean {
  return method !== undefined && !['GET', 'HEAD', 'OPTIONS'].includes(method);
}

interface Counts {
  passed: number;
  failed: number;
  /** The behavior that the test is about could not be reached. */
  setup: number;
}

function count({ tests }: Suite, kind: string, results: Readonly<Record<string, SuiteResult>>): Counts {
  const counts: Counts = { passed: 0, failed: 0, setup: 0 };
  for (const { id, kind: own = 'required' } of tests) {
    const result = results[id];
    if (own !== kind || result === undefined) continue;
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
 * `npm run cache-tests`: runs the public suite of cache-tests.fyi against the gateway as it runs in production and prints its results
 * beside the published ones. Exit code 1 says that a test of the list `passing-<edition>.txt` no longer passes.
 *
 * Options: `--checkout <folder>` takes the suite from a checkout; `--keys <keys>` adds keys to `cache` of the route;
 * `--id <id>` runs one test and prints its messages; `--write-list` writes the list.
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
  const [originPort = 0] = await freePorts(1);
  const routesFile = join(folder, 'routes.yaml');
  await writeFile(routesFile, tableWith(values.keys));
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

/** Prints the table and what no longer passes; resolves with the exit code. */
async function report(suite: Suite, writeList: boolean): Promise<number> {
  const file = new URL(`passing-${suite.edition}.txt`, import.meta.url);
  const rated = suite.tests.filter(({ kind }) => kind !== 'check');
  const passing = rated.filter(({ id }) => suite.results[id] === true).map(({ id }) => id);
  if (writeList) await writeFile(file, `${passing.toSorted().join('\n')}\n`);
  for (const { id, kind = 'required' } of rated) {
    const result = suite.results[id];
    if (result !== true) console.log(`${kind} ${id}: ${result?.join(': ') ?? 'not run'}`);
  }
  printTable(suite);
  const listed = (await readFile(file, 'utf8')).trim().split('\n');
  const lost = listed.filter((id) => suite.results[id] !== true);
  for (const id of lost) console.error(`no longer passes: ${id}`);
  console.log(`${listed.length - lost.length} passed, ${lost.length} failed`);
  return lost.length === 0 ? 0 : 1;
}
