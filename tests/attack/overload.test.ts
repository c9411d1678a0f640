import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { createAddresses } from './lib/addresses.ts';
import { type Flood, type Response, startFlood } from './lib/client.ts';
import { openTarget, type Target, type User } from './lib/target.ts';

/** Seconds that each flood lasts. */
const seconds = Number(process.env.ATTACK_SECONDS ?? 5);
/** Hostile requests a second of all kinds together; a machine that is also the attackers and the system may bear fewer. */
const mixedRate = Number(process.env.ATTACK_RATE ?? 1000);
/** Milliseconds that a login of another user may take under any flood. */
const maxLoginMs = 2000;
/** Milliseconds that it may take with retries a second apart, for a user at an address that is new. */
const maxFirstLoginMs = maxLoginMs + 2000;

describe('floods of one kind of request', () => {
  let target: Target;
  let mallory: User;
  let token: string;
  /** Users whom attackers name in their requests. */
  let victims: User[];
  /** Users whom they do not know. */
  let newcomers: User[];

  before(async () => {
    target = await openTarget();
    mallory = await target.createUser();
    token = (await target.logIn(mallory, '127.66.0.1')).access_token;
    for (let index = 0; index < manyAddresses; index += 1) await target.logIn(mallory, knownAddress(index));
    victims = await Promise.all(Array.from({ length: 4 }, () => target.createUser()));
    for (const [index, victim] of victims.entries()) await target.logIn(victim, homeOf(index));
    newcomers = await Promise.all(Array.from({ length: 4 }, () => target.createUser()));
  });
  after(() => target?.close());

  /** Addresses where the attacker's user is known: more than wait at a time. */
  const manyAddresses = 60;
  const knownAddress = (index: number) => `127.67.0.${(index % manyAddresses) + 1}`;
  const homeOf = (index: number) => `127.10.0.${index + 1}`;
  const hostileAddresses = createAddresses(100);
  const newcomerAddresses = createAddresses(11);
  const send: Target['client']['send'] = (...request) => target.client.send(...request);
  const tryLogIn: Target['tryLogIn'] = (...login) => target.tryLogIn(...login);
  const victimAt = (index: number) => victims[index % victims.length] as User;

  /** Requests of an attacker, each with what it costs when it is not refused early. */
  const hostile = {
    'new password, with the right one': () =>
      send('PUT', `/api/users/${mallory.id}`, {
        ...{ token, from: '127.66.0.1' },
        json: { password: mallory.password, current_password: mallory.password },
      }),
    'new password, with a wrong one': (index: number) =>
      send('PUT', `/api/users/${mallory.id}`, {
        ...{ token, from: '127.66.0.1' },
        json: { password: 'never to be set', current_password: `guess ${index}` },
      }),
    'new e-mail address': (index: number) =>
      send('PUT', `/api/users/${mallory.id}`, {
        ...{ token, from: '127.66.0.1' },
        json: { email: `probe${index}@example.com`, current_password: mallory.password },
      }),
    'login with the right password': () => tryLogIn(mallory, '127.66.0.1'),
    'login with the right password, from many addresses where the user is known': (index: number) =>
      tryLogIn(mallory, knownAddress(index)),
    'login with a wrong password, from many addresses where the user is known': (index: number) =>
      tryLogIn({ email: mallory.email, password: `guess ${index}` }, knownAddress(index)),
    'login with a wrong password, from one address': (index: number) =>
      tryLogIn({ email: victimAt(index).email, password: `guess ${index}` }, '127.66.0.2'),
    'login with a wrong password, from a new address each time': (index: number) =>
      tryLogIn({ email: `nobody${index}@example.com`, password: `guess ${index}` }, hostileAddresses.next()),
    'login as a victim, from a new address each time': (index: number) =>
      tryLogIn({ email: victimAt(index).email, password: `guess ${index}` }, hostileAddresses.next()),
    'login with a made-up X-Forwarded-For': (index: number) =>
      send('POST', '/api/auth/login', {
        from: '127.66.0.3',
        headers: { 'x-forwarded-for': `198.51.100.${index % 256}, 10.1.2.3` },
        json: { email: `nobody${index}@example.com`, password: `guess ${index}` },
      }),
    'sign-up with a taken e-mail address': () =>
      send('POST', '/api/users', {
        from: '127.66.0.4',
        json: { name: 'Taken', email: mallory.email, password: 'a password that is long' },
      }),
    'sign-up, from a new address each time': (index: number) =>
      send('POST', '/api/users', {
        from: hostileAddresses.next(),
        json: {
          name: 'New',
          email: `new${index}.${Date.now()}@example.com`,
          password: 'a password that is long',
        },
      }),
    'refresh with a made-up token': (index: number) =>
      send('POST', '/api/auth/refresh', {
        from: '127.66.0.5',
        json: { refresh_token: `${'a'.repeat(43)}.${String(index).padStart(43, 'b')}` },
      }),
  } as const satisfies Record<string, (index: number) => Promise<Response>>;

  /** What other users do meanwhile, none of which may fail. */
  function goodRequests(): Promise<Response[]> {
    const from = '127.20.0.1';
    return Promise.all([
      target.adminToken().then((admin) => send('GET', '/api/users', { from, token: admin })),
      target.adminToken().then((admin) => send('GET', '/api/users/stats', { from, token: admin })),
      target.adminToken().then((admin) => send('GET', '/api/users/1/profile', { from, token: admin })),
      send('GET', '/api/users/health', { from }),
      send('GET', '/api/health', { from }),
      send('GET', '/.well-known/jwks.json', { from }),
    ]);
  }

  /** Logs in from an address where the user has not logged in before, and again after the time that a 503 asks for, twice at most. */
  async function logInAnew(user: User): Promise<Response> {
    const startedAt = performance.now();
    const from = newcomerAddresses.next();
    let response = await tryLogIn(user, from);
    for (let retries = 2; response.status === 503 && retries > 0; retries -= 1) {
      await wait(Number(response.headers['retry-after']) * 1000);
      response = await tryLogIn(user, from);
    }
    return { ...response, ms: performance.now() - startedAt };
  }

  /** Watches a flood from the side of others, and reports it. */
  async function watch(context: TestContext, flood: Flood): Promise<void> {
    const good: Response[] = [];
    const logins: Response[] = [];
    const firstLogins: Promise<Response>[] = [];
    const opened = await target.gatewayMetric('circuit_breaker_events_total', 'event="open"');
    const endAt = performance.now() + seconds * 1000;
    for (let round = 0; performance.now() < endAt; round += 1) {
      const index = round % victims.length;
      const login = tryLogIn(victims[index] as User, homeOf(index));
      if (round % 4 === 0) firstLogins.push(logInAnew(newcomers[(round / 4) % newcomers.length] as User));
      good.push(...(await goodRequests()));
      logins.push(await login);
      await wait(100);
    }
    const anew = await Promise.all(firstLogins);
    const outcomes = await flood.stop();
    const slowest = (responses: Response[]) => Math.round(Math.max(...responses.map(({ ms }) => ms)));
    const failed = (responses: Response[]) => responses.filter(({ status }) => status !== 200).length;
    const { error: broken = 0, ...statuses } = outcomes;
    const responses = Object.values(statuses).reduce((sum, count) => sum + count, 0);
    context.diagnostic(
      `${Math.round((responses + broken) / seconds)} hostile requests a second: ${JSON.stringify(outcomes)}; ` +
        `${good.length} good requests, ${failed(good)} failed; ` +
        `${logins.length} logins, ${failed(logins)} failed, slowest ${slowest(logins)} ms; ` +
        `${anew.length} from a new address, ${failed(anew)} failed, slowest ${slowest(anew)} ms`,
    );
    assert.deepEqual(
      good.filter(({ status }) => status !== 200).map(({ status, body }) => [status, body?.type]),
      [],
      'requests of others',
    );
    assert.deepEqual(
      [
        ...logins.filter(({ status, ms }) => status !== 200 || ms > maxLoginMs),
        ...anew.filter(({ status, ms }) => status !== 200 || ms > maxFirstLoginMs),
      ].map(({ status, ms }) => [status, ms]),
      [],
      'logins of others',
    );
    assert.equal(await target.gatewayMetric('circuit_breaker_events_total', 'event="open"'), opened);
    assert.ok(responses > 100 * seconds, 'the flood was a flood');
  }

  for (const [name, sendNext] of Object.entries(hostile)) {
    it(`does not fail the requests and logins of others: ${name}`, async (context) => {
      await watch(context, startFlood(250, sendNext));
    });
  }

  it(`does not fail the requests and logins of others: ${mixedRate} a second of every kind`, async (context) => {
    const kinds: ((index: number) => Promise<Response>)[] = Object.values(hostile);
    await watch(
      context,
      startFlood(mixedRate, (index) => (kinds[index % kinds.length] as (typeof kinds)[number])(index)),
    );
  });
});
