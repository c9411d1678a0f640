import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { HttpResponse } from '../../packages/chassis/testing/http.ts';
import { createAddresses } from './lib/addresses.ts';
import { type Flood, startFlood } from './lib/client.ts';
import { openTarget, type Target, type User } from './lib/target.ts';

/** Seconds of each flood. */
const seconds = Number(process.env.ATTACK_SECONDS ?? 5);
/** Maximum hostile requests per second of one kind and of all kinds together. */
const rate = 250;
const mixedRate = Number(process.env.ATTACK_RATE ?? 1000);
/**
 * Hostile requests per login that the machine, which runs both the attackers and the system, completes one at a time. Limits the
 * rate on slow machines.
 */
const requestsPerLogin = 10;
/** Maximum milliseconds of another user's login during a flood. */
const maxLoginMs = 2000;
/**
 * Maximum milliseconds of a login from a new address, including retries after `Retry-After`. On a slow machine, few of the retried logins
 * of all clients find a place in the queue.
 */
const maxFirstLoginMs = maxLoginMs + 5000;

describe('floods of one kind of request', () => {
  let target: Target;
  let mallory: User;
  let token: string;
  /** Users that the attackers' requests name. */
  let victims: User[];
  /** Users that the attackers' requests do not name. */
  let newcomers: User[];
  /** Logins per second, one at a time, without a flood. */
  let loginsPerSecond: number;

  before(async () => {
    target = await openTarget();
    mallory = await target.createUser();
    token = (await target.logIn(mallory, '127.66.0.1')).access_token;
    const startedAt = performance.now();
    for (let index = 0; index < manyAddresses; index += 1) await target.logIn(mallory, knownAddress(index));
    loginsPerSecond = manyAddresses / ((performance.now() - startedAt) / 1000);
    victims = await Promise.all(Array.from({ length: 4 }, () => target.createUser()));
    for (const [index, victim] of victims.entries()) await target.logIn(victim, homeOf(index));
    newcomers = await Promise.all(Array.from({ length: 4 }, () => target.createUser()));
  });
  after(() => target?.close());

  /** Addresses where the attacker's user has logged in: more than the login queue holds. */
  const manyAddresses = 60;
  const knownAddress = (index: number) => `127.67.0.${(index % manyAddresses) + 1}`;
  const homeOf = (index: number) => `127.10.0.${index + 1}`;
  const hostileAddresses = createAddresses(100);
  const newcomerAddresses = createAddresses(11);
  const send: Target['client']['send'] = (...request) => target.client.send(...request);
  const tryLogIn: Target['tryLogIn'] = (...login) => target.tryLogIn(...login);
  const victimAt = (index: number) => victims[index % victims.length] as User;

  /** Requests of an attacker that are expensive unless the system rejects them early. */
  const hostile = {
    'password change with the current password': () =>
      send('PUT', `/api/users/${mallory.id}`, {
        token,
        from: '127.66.0.1',
        json: { password: mallory.password, current_password: mallory.password },
      }),
    'password change with a wrong current password': (index: number) =>
      send('PUT', `/api/users/${mallory.id}`, {
        token,
        from: '127.66.0.1',
        json: { password: 'never to be set', current_password: `guess ${index}` },
      }),
    'e-mail address change': (index: number) =>
      send('PUT', `/api/users/${mallory.id}`, {
        token,
        from: '127.66.0.1',
        json: { email: `probe${index}@example.com`, current_password: mallory.password },
      }),
    'login with the correct password': () => tryLogIn(mallory, '127.66.0.1'),
    'login with the correct password, from many addresses known for the user': (index: number) =>
      tryLogIn(mallory, knownAddress(index)),
    'login with a wrong password, from many addresses known for the user': (index: number) =>
      tryLogIn({ email: mallory.email, password: `guess ${index}` }, knownAddress(index)),
    'login with a wrong password, from one address': (index: number) =>
      tryLogIn({ email: victimAt(index).email, password: `guess ${index}` }, '127.66.0.2'),
    'login with a wrong password, from a new address each time': (index: number) =>
      tryLogIn({ email: `unknown${index}@example.com`, password: `guess ${index}` }, hostileAddresses.next()),
    'login as a victim, from a new address each time': (index: number) =>
      tryLogIn({ email: victimAt(index).email, password: `guess ${index}` }, hostileAddresses.next()),
    'login with a forged X-Forwarded-For': (index: number) =>
      send('POST', '/api/auth/login', {
        from: '127.66.0.3',
        headers: { 'x-forwarded-for': `198.51.100.${index % 256}, 10.1.2.3` },
        json: { email: `unknown${index}@example.com`, password: `guess ${index}` },
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
    'refresh with an invalid token': (index: number) =>
      send('POST', '/api/auth/refresh', {
        from: '127.66.0.5',
        json: { refresh_token: `${'a'.repeat(43)}.${String(index).padStart(43, 'b')}` },
      }),
  } as const satisfies Record<string, (index: number) => Promise<HttpResponse>>;

  const limitRate = (wanted: number) => Math.min(wanted, requestsPerLogin * loginsPerSecond);

  /** Sends requests of other users, none of which may fail. */
  function sendNormalRequests(): Promise<HttpResponse[]> {
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

  /** Logs in from an address that is new for the user. Retries a 503 after `Retry-After`, at most five times. */
  async function logInFromNewAddress(user: User): Promise<HttpResponse> {
    const startedAt = performance.now();
    const from = newcomerAddresses.next();
    let response = await tryLogIn(user, from);
    for (let retries = 5; response.status === 503 && retries > 0; retries -= 1) {
      await wait(Number(response.headers['retry-after']) * 1000);
      response = await tryLogIn(user, from);
    }
    return { ...response, ms: performance.now() - startedAt };
  }

  /** Checks requests and logins of other users during a flood, and reports the numbers. */
  async function checkOthers(context: TestContext, flood: Flood): Promise<void> {
    const normal: HttpResponse[] = [];
    const logins: HttpResponse[] = [];
    const firstLogins: Promise<HttpResponse>[] = [];
    const opened = await target.gatewayMetric('circuit_breaker_events_total', 'event="open"');
    const endAt = performance.now() + seconds * 1000;
    for (let round = 0; performance.now() < endAt; round += 1) {
      const index = round % victims.length;
      const login = tryLogIn(victims[index] as User, homeOf(index));
      if (round % 4 === 0)
        firstLogins.push(logInFromNewAddress(newcomers[(round / 4) % newcomers.length] as User));
      normal.push(...(await sendNormalRequests()));
      logins.push(await login);
      await wait(100);
    }
    const fromNewAddress = await Promise.all(firstLogins);
    const outcomes = await flood.stop();
    const slowest = (responses: HttpResponse[]) => Math.round(Math.max(...responses.map(({ ms }) => ms)));
    const failed = (responses: HttpResponse[]) => responses.filter(({ status }) => status !== 200).length;
    const { error: broken = 0, ...statuses } = outcomes;
    const responses = Object.values(statuses).reduce((sum, count) => sum + count, 0);
    context.diagnostic(
      `${Math.round(loginsPerSecond)} logins per second without a flood; ` +
        `${Math.round((responses + broken) / seconds)} hostile requests per second: ${JSON.stringify(outcomes)}; ` +
        `${normal.length} normal requests, ${failed(normal)} failed; ` +
        `${logins.length} logins, ${failed(logins)} failed, slowest ${slowest(logins)} ms; ` +
        `${fromNewAddress.length} logins from a new address, ${failed(fromNewAddress)} failed, slowest ${slowest(fromNewAddress)} ms`,
    );
    assert.deepEqual(
      normal.filter(({ status }) => status !== 200).map(({ status, body }) => [status, body?.type]),
      [],
      'requests of others',
    );
    assert.deepEqual(
      [
        ...logins.filter(({ status, ms }) => status !== 200 || ms > maxLoginMs),
        ...fromNewAddress.filter(({ status, ms }) => status !== 200 || ms > maxFirstLoginMs),
      ].map(({ status, ms, body }) => [status, body?.type, ms]),
      [],
      'logins of others',
    );
    assert.equal(await target.gatewayMetric('circuit_breaker_events_total', 'event="open"'), opened);
    assert.ok(responses > 3 * loginsPerSecond * seconds, 'the flood exceeded three times the rate of logins');
  }

  for (const [name, sendNext] of Object.entries(hostile)) {
    it(`requests and logins of others succeed during a flood: ${name}`, async (context) => {
      await checkOthers(context, startFlood(limitRate(rate), sendNext));
    });
  }

  it(`requests and logins of others succeed during a flood: up to ${mixedRate} requests per second of all kinds`, async (context) => {
    const kinds: ((index: number) => Promise<HttpResponse>)[] = Object.values(hostile);
    await checkOthers(
      context,
      startFlood(limitRate(mixedRate), (index) =>
        (kinds[index % kinds.length] as (typeof kinds)[number])(index),
      ),
    );
  });
});
