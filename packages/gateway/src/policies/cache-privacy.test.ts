import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sendRequest } from '@zerda/chassis/testing/http';
import fc from 'fast-check';
import { startGateway } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { bearer, testVerifier } from '../../testing/verifier.ts';
import { parseTable } from '../routes/read-table.ts';

const table = parseTable(
  `
upstreams: { user-service: {}, order-service: {} }
defaults: { cache: { ttl_ms: 25, stale_while_revalidate_ms: 25, stale_if_error_ms: 60000 } }
routes:
  - { path: '/users/{id}', methods: [GET, PUT], upstream: user-service }
  - { path: '/orders/{id}', methods: [GET, PUT], upstream: order-service, cache: { ttl_ms: 60000 } }
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
/** Delay value that makes the service drop the connection of a read. */
const failing = 7;

/** One request after a pause. */
const step = fc.record({
  subject: fc.constantFrom(...subjects),
  role: fc.constantFrom('user', 'admin'),
  route: fc.constantFrom(...routes),
  write: fc.nat(4).map((number) => number === 0),
  language: fc.constantFrom('de', 'fr'),
  pauseMs: fc.integer({ min: 0, max: 60 }),
});

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** Response body of the service: the caller's token, and the number of writes to each resource. */
interface ServiceBody {
  readonly for: string;
  readonly language?: string;
  readonly versions: Readonly<Record<string, number>>;
}

it('every caller gets only their own responses, and none older than an acknowledged write', async (context) => {
  /** Response delays of the services in the current run, in milliseconds; `failing` is one of them. */
  let delays: readonly number[] = [];
  let calls = 0;
  /** Number of the run; every run uses new resources. */
  let run = 0;
  const versions: Record<string, number> = {};

  /** A service whose responses depend on the caller and, on one route, on the language. It reads its state after half of the delay. */
  const service = async (
    incoming: import('node:http').IncomingMessage,
    response: import('node:http').ServerResponse,
  ): Promise<void> => {
    incoming.resume();
    const delay = delays[calls % delays.length] ?? 0;
    calls += 1;
    if (incoming.method === 'GET' && delay === failing) {
      incoming.socket.destroy();
      return;
    }
    await wait(delay / 2);
    const key = String(incoming.url);
    if (incoming.method === 'PUT') versions[key] = (versions[key] ?? 0) + 1;
    const body: ServiceBody = {
      for: String(incoming.headers.authorization),
      ...(key.startsWith('/vary') && { language: String(incoming.headers['accept-language']) }),
      versions: { ...versions },
    };
    await wait(delay / 2);
    sendJson(response, 200, body, key.startsWith('/vary') ? { vary: 'accept-language' } : {});
  };
  const gateway = await startGateway(context, {
    table,
    users: service,
    orders: service,
    door: { authentication: testVerifier },
    circuit: { volume: 1_000_000 },
  });
  /** Newest acknowledged version of each resource; later reads must not return an older one. */
  const acknowledged: Record<string, number> = {};
  const outcomes = new Map<string, number>();

  async function perform({ subject, role, route, write, language, pauseMs }: Step): Promise<void> {
    await wait(pauseMs);
    const headers = { ...bearer(subject, role as 'user' | 'admin'), 'accept-language': language };
    const name = String(run);
    const resource = `/${route === 'both' ? 'users' : route}/${name}`;
    const expected = acknowledged[resource] ?? 0;
    const method = write && route !== 'both' ? 'PUT' : 'GET';
    const {
      status,
      text,
      headers: responseHeaders,
    } = await sendRequest(`${gateway.url}/${route}/${name}`, { method, headers });
    const outcome = responseHeaders['x-cache'] ?? method;
    outcomes.set(String(outcome), (outcomes.get(String(outcome)) ?? 0) + 1);
    if (status === 502) return;
    assert.equal(status, 200, text);
    const body: ServiceBody = route === 'both' ? JSON.parse(text).data : JSON.parse(text);
    assert.equal(body.for, headers.authorization, `${subject} got the response for ${body.for}`);
    if (route === 'vary') assert.equal(body.language, language);
    const version = body.versions[resource] ?? 0;
    if (method === 'PUT') acknowledged[resource] = Math.max(acknowledged[resource] ?? 0, version);
    else
      assert.ok(version >= expected, `version ${version} of ${resource} after ${expected} was acknowledged`);
  }

  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 30 }),
      fc.array(fc.integer({ min: 0, max: 16 }), { minLength: 3, maxLength: 9 }),
      async (steps, drawnDelays) => {
        delays = drawnDelays;
        run += 1;
        // The reads of the second round find responses of the first in the cache, however slow the machine is.
        await Promise.all(steps.map(perform));
        await Promise.all(steps.map((request) => perform({ ...request, write: false })));
      },
    ),
    // The timing differs in every run, so shrinking would find nothing.
    { numRuns: 40, endOnFailure: true },
  );
  // A slow machine may produce no stale response by chance, so this forces one.
  const read: Step = {
    subject: 'alice',
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
