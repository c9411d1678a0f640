import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import fc from 'fast-check';
import { parseTable } from '../routes/read-table.ts';
import { ask, sendJson, startGateway } from '../testing.ts';
import { bearer, testVerifier } from './testing-verifier.ts';

const table = parseTable(
  `
upstreams: { user-service: {}, order-service: {} }
defaults: { cache: { ttl_ms: 25, stale_while_revalidate_ms: 25, stale_if_error_ms: 60000 } }
routes:
  - { path: '/users/{id}', methods: [GET, PUT], upstream: user-service }
  - { path: '/orders/{id}', methods: [GET, PUT], upstream: order-service }
  - { path: '/vary/{id}', methods: [GET, PUT], upstream: user-service }
aggregates:
  - path: /both/{id}
    parts:
      users: { upstream: user-service, path: '/users/{id}', required: true, cache: { ttl_ms: 25, stale_while_revalidate_ms: 25 } }
    answer: { for: { from: users.for }, versions: { from: users.versions } }
`,
  'table',
);

const subjects = ['alice', 'bob', 'slow-carol'] as const;
const routes = ['users', 'orders', 'vary', 'both'] as const;
/** The delay that stands for a service that drops the connection of whoever reads. */
const failing = 7;

/** One thing that somebody does, after some time. */
const step = fc.record({
  who: fc.constantFrom(...subjects),
  role: fc.constantFrom('user', 'admin'),
  route: fc.constantFrom(...routes),
  write: fc.nat(4).map((number) => number === 0),
  language: fc.constantFrom('de', 'fr'),
  pauseMs: fc.integer({ min: 0, max: 60 }),
});

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** What a service shows: whose it is, and how often each caller's thing has been written. */
interface Shown {
  readonly for: string;
  readonly language?: string;
  readonly versions: Readonly<Record<string, number>>;
}

it('whatever callers do and when, each is shown their own, and nothing older than they have written', async (context) => {
  /** Milliseconds that services take, `failing` among them: from the run at hand. */
  let delays: readonly number[] = [];
  let asked = 0;
  /** Things of one run are no other's: what was learned of them once is learned anew. */
  let run = 0;
  const versions: Record<string, number> = {};

  /** A service whose answers depend on the caller and, on one route, on the language; half of its time is before it reads. */
  const service = async (
    incoming: import('node:http').IncomingMessage,
    response: import('node:http').ServerResponse,
  ): Promise<void> => {
    incoming.resume();
    const delay = delays[asked % delays.length] ?? 0;
    asked += 1;
    if (incoming.method === 'GET' && delay === failing) {
      incoming.socket.destroy();
      return;
    }
    await wait(delay / 2);
    const key = String(incoming.url);
    if (incoming.method === 'PUT') versions[key] = (versions[key] ?? 0) + 1;
    const shown: Shown = {
      for: String(incoming.headers.authorization),
      ...(key.startsWith('/vary') && { language: String(incoming.headers['accept-language']) }),
      versions: { ...versions },
    };
    await wait(delay / 2);
    sendJson(response, 200, shown, key.startsWith('/vary') ? { vary: 'accept-language' } : {});
  };
  const gateway = await startGateway(context, {
    ...{ table, users: service, orders: service, door: { authentication: testVerifier } },
    circuit: { volume: 1_000_000 },
  });
  /** Newest version of each thing that a write was acknowledged for: to whoever reads from then on. */
  const acknowledged: Record<string, number> = {};
  const outcomes = new Map<string, number>();

  async function perform({ who, role, route, write, language, pauseMs }: Step): Promise<void> {
    await wait(pauseMs);
    const headers = { ...bearer(who, role as 'user' | 'admin'), 'accept-language': language };
    const name = String(run);
    const thing = `/${route === 'both' ? 'users' : route}/${name}`;
    const expected = acknowledged[thing] ?? 0;
    const method = write && route !== 'both' ? 'PUT' : 'GET';
    const {
      status,
      text,
      headers: answered,
    } = await ask(`${gateway.url}/${route}/${name}`, { method, headers });
    const outcome = answered['x-cache'] ?? method;
    outcomes.set(String(outcome), (outcomes.get(String(outcome)) ?? 0) + 1);
    if (status === 502) return;
    assert.equal(status, 200, text);
    const shown: Shown = route === 'both' ? JSON.parse(text).data : JSON.parse(text);
    assert.equal(shown.for, headers.authorization, `${who} is shown what is for ${shown.for}`);
    if (route === 'vary') assert.equal(shown.language, language);
    const version = shown.versions[thing] ?? 0;
    if (method === 'PUT') acknowledged[thing] = Math.max(acknowledged[thing] ?? 0, version);
    else assert.ok(version >= expected, `version ${version} of ${thing} after ${expected} was acknowledged`);
  }

  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 20, maxLength: 60 }),
      fc.array(fc.integer({ min: 0, max: 16 }), { minLength: 3, maxLength: 9 }),
      async (steps, taken) => {
        delays = taken;
        run += 1;
        await Promise.all(steps.map(perform));
      },
    ),
    // What another run does in the same order takes other times: nothing smaller could be found.
    { numRuns: 40, endOnFailure: true },
  );
  // On a busy machine chance alone does not come upon an old answer: here the service fails once it is no longer fresh.
  const read: Step = {
    who: 'alice',
    role: 'user',
    route: 'users',
    write: false,
    language: 'de',
    pauseMs: 60,
  };
  delays = [0];
  await perform(read);
  delays = [failing];
  await perform(read);
  for (const outcome of ['hit', 'miss', 'coalesced', 'stale', 'PUT'])
    assert.ok(outcomes.has(outcome), `${outcome}: ${outcomes.get(outcome)}`);
});
