import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { connectPostgres, startPostgres } from '../../packages/chassis/testing/postgres.ts';
import type { ServerProcess } from '../../packages/chassis/testing/server.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { startScript } from './competitors.ts';
import { startGateway } from './gateway.ts';
import type { Harness } from './harness.ts';
import type { LoadPlan, LoadResult, RequestCounter } from './load.ts';
import { readUsage } from './process-usage.ts';
import type { RunningProxy } from './proxies.ts';
import { describeMachine, saveResult } from './result-file.ts';
import { startService } from './service.ts';
import { spread } from './statistics.ts';
import { startWorker, type WorkerProcess } from './worker-process.ts';

/** Requests of one kind, to a service and to the minimal one. */
interface Work extends Pick<LoadPlan, 'method' | 'path' | 'content' | 'status' | 'headers'> {
  readonly title: string;
  readonly service: 'user-service' | 'order-service';
  /** Goal: maximum CPU of the service's process, as a multiple of the minimal service's. */
  readonly goal: number;
  /** The same for the CPU of PostgreSQL; none by default. */
  readonly postgresGoal?: number;
}

/** A process under load, and its database. */
interface Subject extends Pick<RunningProxy, 'name' | 'port' | 'pid'> {
  /** Returns the number of events in its outbox that are not sent. */
  pendingEvents(): Promise<number>;
}

/** Costs of a subject in one round. */
interface Sample {
  /** CPU microseconds of the subject's process per request. */
  readonly processMicroseconds: number;
  /** The same of all processes of PostgreSQL. */
  readonly postgresMicroseconds: number;
  readonly perSecond: number;
}

/** Duration and number of the rounds of each subject. */
const paces = {
  normal: { warmUpMs: 4000, roundMs: 2000, rounds: 5 },
  quick: { warmUpMs: 300, roundMs: 300, rounds: 1 },
} as const;

const connections = 16;

/** Text that a number which no other request has replaces: in keys, addresses and names. */
const unique = '<unique-number>#';
/** Text that the id of one of many users replaces, so that writers seldom meet. */
const someUser = '<us>';
/** Text that the id of a pending order replaces. Each order is used once. */
const pendingOrder = '<order>';
const users = 1000;
const firstUser = 1000;
const firstPendingOrder = 1_000_000;
const pendingOrders = 200_000;

const works: readonly Work[] = [
  { title: 'GET one user', service: 'user-service', path: `/api/users/${someUser}`, goal: 1.3 },
  { title: 'GET 20 users', service: 'user-service', path: '/api/users?limit=20', goal: 1.3 },
  { title: 'GET one order', service: 'order-service', path: `/api/orders/${firstPendingOrder}`, goal: 1.3 },
  {
    title: 'POST user',
    service: 'user-service',
    method: 'POST',
    path: '/api/users',
    content: `{"name":"Ada","email":"${unique}@example.com"}`,
    headers: { 'Idempotency-Key': unique },
    status: 201,
    goal: 2,
    postgresGoal: 1.5,
  },
  {
    title: 'PUT user',
    service: 'user-service',
    method: 'PUT',
    path: `/api/users/${someUser}`,
    content: `{"name":"Ada ${unique}"}`,
    goal: 2,
    postgresGoal: 1.5,
  },
  {
    title: 'POST order',
    service: 'order-service',
    method: 'POST',
    path: '/api/orders',
    content: `{"user_id":${someUser},"product":"Laptop","quantity":1,"total":999.99}`,
    headers: { 'Idempotency-Key': unique },
    status: 201,
    goal: 2,
    postgresGoal: 1.5,
  },
  {
    title: 'PUT status of an order',
    service: 'order-service',
    method: 'PUT',
    path: `/api/orders/${pendingOrder}/status`,
    content: '{"status":"processing"}',
    goal: 2,
    postgresGoal: 1.5,
  },
];

/**
 * Measures the services beside a minimal one that does the same work with the least code, on the same PostgreSQL server, and the
 * aggregates of the gateway beside forwarded requests. Subjects take turns. Writes have idempotency keys, and the events of the services are sent to a sink.
 * Resolves with the exit code: 1 if a request failed.
 */
export function measureSystem(mode: keyof typeof paces): (harness: Harness) => Promise<number> {
  return async (harness) => {
    const postgres = await startPostgres();
    if (postgres === undefined)
      throw new StartupError('PostgreSQL was not found. Install it: this bench measures it.', 78);
    const sink = startWorker<object, { url: string }>(new URL('collector-process.ts', import.meta.url));
    const load = startWorker<LoadPlan, LoadResult>(new URL('load-process.ts', import.meta.url));
    const stops: (() => Promise<unknown>)[] = [];
    try {
      await postgres.start();
      const { url } = await sink.call({});
      const faults: string[] = [];
      const bench = { postgres, load, pace: paces[mode], faults };
      const system = await startSystem(harness, postgres, url, stops);
      const rows = await measureWorks(bench, system);
      const aggregates = await measureAggregates(bench, system.gateway);
      console.log(`${formatWorks(rows)}\n\n${formatAggregates(aggregates)}\n`);
      if (mode === 'quick') console.log('This quick run is too short for reliable results.\n');
      for (const [name, value] of Object.entries(describeMachine())) console.log(`${name}: ${value}`);
      const file = await saveResult(mode === 'quick' ? 'system-quick' : 'system', { rows, aggregates });
      console.log(`Results written to ${file}`);
      for (const fault of faults) console.log(`FAILED ${fault}`);
      return faults.length === 0 ? 0 : 1;
    } finally {
      // Each is stopped even if another cannot be.
      for (const stop of stops.toReversed()) await stop().catch(console.error);
      await Promise.all([sink.stop(), load.stop(), postgres.stop()]);
    }
  };
}

interface System {
  readonly services: Readonly<Record<Work['service'], Subject>>;
  readonly minimal: Subject;
  readonly gateway: Subject;
}

/** Starts the services, the gateway and the minimal service, each on a database of its own. @param stops gets the functions that end them */
async function startSystem(
  harness: Harness,
  postgres: ServerProcess,
  sinkUrl: string,
  stops: (() => Promise<unknown>)[],
): Promise<System> {
  const server = await connectPostgres(postgres.url);
  const names = ['users', 'orders', 'minimal'] as const;
  for (const name of names) await server.rows(`create database ${name}`);
  await server.close();
  const [usersUrl = '', ordersUrl = '', minimalUrl = ''] = names.map(
    (name) => new URL(`/${name}`, postgres.url).href,
  );
  const keep = <Process extends Pick<RunningProxy, 'stop'>>(running: Process): Process => {
    stops.push(running.stop);
    return running;
  };
  const env = {
    DATABASE_PREPARED_STATEMENTS: 'true',
    EVENT_SINKS: sinkUrl,
    EVENT_SECRET: 'a secret of the bench, which only this machine uses',
  };
  const userService = keep(await startService('user-service', usersUrl, env));
  const userServiceUrl = `http://127.0.0.1:${userService.port}`;
  const orderService = keep(
    await startService('order-service', ordersUrl, { ...env, USER_SERVICE_URL: userServiceUrl }),
  );
  const minimal = keep(
    await startScript('minimal service', 'minimal-service.mjs', '/ready', { DATABASE_URL: minimalUrl }),
  );
  const gateway = keep(
    await startGateway(
      { ...harness.proxyOptions, upstreamPort: userService.port },
      { orderServicePort: orderService.port },
    ),
  );
  const ids = `generate_series(${firstUser}, ${firstUser + users - 1}) as id`;
  const orders = `insert into orders (user_id, product, quantity, total_cents, status)
    select ${firstUser} + n % ${users}, 'Laptop', 1, 99999, 'pending' from generate_series(1, ${pendingOrders}) as n`;
  const open = async (url: string, ...statements: readonly string[]): Promise<Subject['pendingEvents']> => {
    const connection = await connectPostgres(url);
    stops.push(connection.close);
    for (const statement of statements) await connection.rows(statement);
    await connection.rows('vacuum analyze');
    return async () => {
      const [row] = await connection.rows<{ n: number }>(
        'select count(*)::int as n from outbox where sent_at is null',
      );
      return row?.n ?? 0;
    };
  };
  const pendingOf = {
    users: await open(
      usersUrl,
      `insert into users (id, name, email, role) overriding system value select id, 'Ada', id || '@example.com', 'user' from ${ids}`,
      `select setval(pg_get_serial_sequence('users', 'id'), ${firstUser + users})`,
    ),
    orders: await open(
      ordersUrl,
      `insert into known_users (user_id) select id from ${ids}`,
      `alter table orders alter column id restart with ${firstPendingOrder}`,
      orders,
    ),
  };
  await open(
    minimalUrl,
    `insert into users (id, name, email) overriding system value select id, 'Ada', id || '@example.com' from ${ids}`,
    `select setval(pg_get_serial_sequence('users', 'id'), ${firstUser + users})`,
    orders,
  );
  const noEvents = async (): Promise<number> => 0;
  return {
    services: {
      'user-service': { ...userService, pendingEvents: pendingOf.users },
      'order-service': { ...orderService, pendingEvents: pendingOf.orders },
    },
    minimal: { ...minimal, pendingEvents: noEvents },
    gateway: { ...gateway, pendingEvents: noEvents },
  };
}

interface Bench {
  readonly postgres: ServerProcess;
  readonly load: WorkerProcess<LoadPlan, LoadResult>;
  readonly pace: (typeof paces)[keyof typeof paces];
  /** Gets a line for each kind of failed requests. */
  readonly faults: string[];
}

interface WorkResult {
  readonly work: Work;
  readonly ours: Sample[];
  readonly minimal: Sample[];
}

async function measureWorks(bench: Bench, { services, minimal }: System): Promise<WorkResult[]> {
  const results: WorkResult[] = [];
  for (const work of works) {
    const result: WorkResult = { work, ours: [], minimal: [] };
    const ours = startUsing(bench, services[work.service], work);
    const theirs = startUsing(bench, minimal, work);
    for (let round = 0; round <= bench.pace.rounds; round += 1) {
      const turns = [async () => ours(round, result.ours), async () => theirs(round, result.minimal)];
      for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn();
    }
    results.push(result);
  }
  return results;
}

/** Returns a function that loads a subject for a round and adds the sample, unless the round is the warm-up (0). */
function startUsing(
  { postgres, load, pace, faults }: Bench,
  subject: Subject,
  work: Omit<Work, 'service' | 'goal'>,
): (round: number, samples: Sample[]) => Promise<void> {
  let sent = 0;
  return async (round, samples) => {
    const counters: RequestCounter[] = [
      { text: unique, from: Date.now() * 1000 },
      { text: someUser, from: firstUser, count: users },
      { text: pendingOrder, from: firstPendingOrder + sent },
    ];
    const { method, path, content, status, headers } = work;
    const usage = () => Promise.all([subject.pid, postgres.pid ?? 0].map(readUsage));
    const before = await usage();
    const milliseconds = round === 0 ? pace.warmUpMs : pace.roundMs;
    const plan = { port: subject.port, method, path, content, status, headers, counters };
    const result = await load.call({ ...plan, bytes: undefined, connections, milliseconds });
    sent += result.sent;
    await eventually(async () => (await subject.pendingEvents()) === 0, `the events of ${subject.name}`);
    const after = await usage();
    const [processMicroseconds = Number.NaN, postgresMicroseconds = Number.NaN] = after.map(
      (used, index) =>
        ((used?.cpuMicroseconds ?? Number.NaN) - (before[index]?.cpuMicroseconds ?? Number.NaN)) /
        result.responded,
    );
    const perSecond = (result.responded * 1000) / result.milliseconds;
    for (const [error, count] of Object.entries(result.errors))
      faults.push(`${subject.name}, ${work.title}: ${count} x ${error}`);
    if (round > 0) samples.push({ processMicroseconds, postgresMicroseconds, perSecond });
  };
}

interface AggregateResult {
  readonly title: string;
  /** Number of requests that the gateway sends for one of its clients. */
  readonly parts: number;
  readonly samples: Sample[];
}

async function measureAggregates(bench: Bench, gateway: Subject): Promise<AggregateResult[]> {
  const results: AggregateResult[] = [
    { title: 'GET one user, forwarded', parts: 1, samples: [] },
    { title: 'GET profile', parts: 2, samples: [] },
    { title: 'GET dashboard', parts: 2, samples: [] },
  ];
  const paths = [`/api/users/${firstUser}`, `/api/users/${firstUser}/profile`, '/api/dashboard'];
  const runs = results.map(({ title }, index) =>
    startUsing(bench, gateway, { title, path: paths[index] ?? '' }),
  );
  for (let round = 0; round <= bench.pace.rounds; round += 1)
    for (const [index, run] of runs.entries()) await run(round, results[index]?.samples ?? []);
  return results;
}

function formatWorks(results: readonly WorkResult[]): string {
  const lines = results.map(({ work, ours, minimal }) => {
    const processRatio = ratioOf(ours, minimal, 'processMicroseconds');
    const postgresRatio = ratioOf(ours, minimal, 'postgresMicroseconds');
    return [
      work.title,
      ...[ours, minimal].map((samples) => medianOf(samples, 'processMicroseconds').toFixed(0)),
      `${processRatio.toFixed(2)} (<= ${work.goal})`,
      ...[ours, minimal].map((samples) => medianOf(samples, 'postgresMicroseconds').toFixed(0)),
      `${postgresRatio.toFixed(2)}${work.postgresGoal === undefined ? '' : ` (<= ${work.postgresGoal})`}`,
      ...[ours, minimal].map((samples) => medianOf(samples, 'perSecond').toFixed(0)),
    ];
  });
  return formatTable([
    [
      ...['work', 'zerda, CPU µs/req', 'minimal', 'ratio (goal)'],
      ...['PostgreSQL of zerda, CPU µs/req', 'of the minimal one', 'ratio (goal)', 'zerda, req/s', 'minimal'],
    ],
    ...lines,
  ]);
}

/** Goal: maximum CPU of an aggregate in the gateway, as a multiple of as many forwarded requests as it has parts. */
const aggregateGoal = 1.3;

function formatAggregates(results: readonly AggregateResult[]): string {
  const [forwarded] = results;
  const lines = results.map(({ title, parts, samples }) => {
    const ratio =
      forwarded === undefined
        ? Number.NaN
        : ratioOf(samples, forwarded.samples, 'processMicroseconds') / parts;
    const cost = medianOf(samples, 'processMicroseconds').toFixed(0);
    return [title, cost, String(parts), `${ratio.toFixed(2)} (<= ${aggregateGoal})`];
  });
  return formatTable([['gateway', 'CPU µs/req', 'parts', 'ratio to forwarded parts (goal)'], ...lines]);
}

function formatTable(lines: readonly (readonly string[])[]): string {
  const [header = [], ...rows] = lines;
  const rule = header.map((_, column) => (column === 0 ? '---' : '--:'));
  return [header, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

type Cost = 'processMicroseconds' | 'postgresMicroseconds' | 'perSecond';

function medianOf(samples: readonly Sample[], cost: Cost): number {
  return spread(samples.map((sample) => sample[cost]))?.median ?? Number.NaN;
}

/** Returns the median of the ratios of the same round. */
function ratioOf(samples: readonly Sample[], others: readonly Sample[], cost: Cost): number {
  const ratios = samples.map((sample, index) => sample[cost] / (others[index]?.[cost] ?? Number.NaN));
  return spread(ratios)?.median ?? Number.NaN;
}
