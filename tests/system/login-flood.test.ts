import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { percentile } from '../bench/statistics.ts';
import { eventually } from './lib/eventually.ts';
import { call } from './lib/http.ts';
import { type System, startSystem } from './lib/system.ts';

const admin = { email: 'root@example.com', password: 'unmistakable horse 4711' };

/** Milliseconds that one part of a measurement takes. */
const partMs = 4000;
/** Logins that are under way at the same time. */
const flooders = 60;

interface Sent {
  readonly status: number;
  readonly ms: number;
}

describe('a flood of logins', () => {
  let system: System;
  let token: string;
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });

  before(async () => {
    system = await startSystem({
      AUTH: 'required',
      AUTH_KEY_SECRET: 'the secret of the keys of this test',
      AUTH_ADMIN_EMAIL: admin.email,
      AUTH_ADMIN_PASSWORD: admin.password,
      LOG_LEVEL: 'error',
    });
    const { body } = await eventually(async () => {
      const answer = await call(`${system.users.url}/api/auth/login`, { method: 'POST', json: admin });
      assert.equal(answer.status, 200, answer.text);
      return answer;
    });
    token = body.data.access_token;
  });
  after(async () => {
    agent.destroy();
    await system.close();
  });

  function send(method: string, path: string, headers: Record<string, string>, body?: object): Promise<Sent> {
    const begun = performance.now();
    return new Promise((resolve, reject) => {
      const text = body && JSON.stringify(body);
      const sent = request(
        `${system.users.url}${path}`,
        { method, agent, headers: { ...headers, ...(text && { 'content-type': 'application/json' }) } },
        (response) => {
          response
            .resume()
            .once('end', () => resolve({ status: response.statusCode ?? 0, ms: performance.now() - begun }));
        },
      );
      sent.once('error', reject).end(text);
    });
  }

  /** Reads of one user, one every 20 ms; their milliseconds. */
  async function readSteadily(): Promise<number[]> {
    const reads: Promise<Sent>[] = [];
    for (const end = performance.now() + partMs; performance.now() < end; await wait(20))
      reads.push(send('GET', '/api/users/1', { authorization: `Bearer ${token}` }));
    const answers = await Promise.all(reads);
    for (const { status } of answers) assert.equal(status, 200);
    return answers.map(({ ms }) => ms).sort((a, b) => a - b);
  }

  it('is answered, or told to come again, and does not keep others waiting', async (t) => {
    await readSteadily();
    const quiet = await readSteadily();

    const statuses = new Map<number, number>();
    let flooding = true;
    let serial = 0;
    // Each from an address and as a user of its own: what slows down a guesser is not to help here.
    const flood = Array.from({ length: flooders }, async () => {
      while (flooding) {
        serial += 1;
        const address = `198.${18 + (serial >> 16)}.${(serial >> 8) & 255}.${serial & 255}`;
        const { status } = await send(
          'POST',
          '/api/auth/login',
          { 'x-forwarded-for': address },
          {
            email: `nobody${serial}@example.com`,
            password: 'some password or other',
          },
        );
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        // It is the passwords that are to be felt here; against mere numbers of requests there are rate limits.
        if (status === 503) await wait(300);
      }
    });
    const flooded = await readSteadily();
    flooding = false;
    await Promise.all(flood);

    const [before, during] = [quiet, flooded].map((sorted) => percentile(sorted, 99)) as [number, number];
    t.diagnostic(
      `p99 of GET /api/users/1: ${before.toFixed(1)} ms, in the flood ${during.toFixed(1)} ms; logins: ${JSON.stringify([...statuses])}`,
    );
    assert.deepEqual(
      [...statuses.keys()].filter((status) => ![401, 503, 504].includes(status)),
      [],
    );
    assert.ok((statuses.get(401) ?? 0) > 0, 'passwords were looked at');
    assert.ok((statuses.get(503) ?? 0) > 0, 'and some were too many');
    // Without a bound it is tens of seconds; one is left that a busy machine keeps.
    assert.ok(during < Math.max(2000, 100 * before), `${during} ms`);
  });
});
