import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { percentile } from '../bench/statistics.ts';
import { type System, startSystem } from '../kit/system.ts';

const admin = { email: 'root@example.com', password: 'unmistakable horse 4711' };

/** Milliseconds of each part of the measurement. */
const partMs = 2000;
/** Number of concurrent logins. */
const concurrentLogins = 60;

interface TimedResponse {
  readonly status: number;
  readonly ms: number;
}

describe('a flood of logins', () => {
  let system: System;
  let token: string;
  /** Milliseconds of a login without a flood. */
  let loginMs: number;
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });

  before(async () => {
    system = await startSystem({
      AUTH: 'required',
      AUTH_KEY_SECRET: 'the secret of the keys of this test',
      AUTH_ADMIN_EMAIL: admin.email,
      AUTH_ADMIN_PASSWORD: admin.password,
      LOG_LEVEL: 'error',
    });
    const logIn = async () => {
      const response = await sendRequest(`${system.users.url}/api/auth/login`, {
        method: 'POST',
        json: admin,
      });
      assert.equal(response.status, 200, response.text);
      return response;
    };
    const { body } = await eventually(logIn);
    token = body.data.access_token;
    loginMs = (await logIn()).ms;
  });
  after(async () => {
    agent.destroy();
    await system.close();
  });

  function send(
    method: string,
    path: string,
    headers: Record<string, string>,
    body?: object,
  ): Promise<TimedResponse> {
    const startedAt = performance.now();
    return new Promise((resolve, reject) => {
      const text = body && JSON.stringify(body);
      const sent = request(
        `${system.users.url}${path}`,
        { method, agent, headers: { ...headers, ...(text && { 'content-type': 'application/json' }) } },
        (response) => {
          response
            .resume()
            .once('end', () =>
              resolve({ status: response.statusCode ?? 0, ms: performance.now() - startedAt }),
            );
        },
      );
      sent.once('error', reject).end(text);
    });
  }

  /** Reads one user every 20 ms. Resolves with the sorted latencies in milliseconds. */
  async function readSteadily(): Promise<number[]> {
    const reads: Promise<TimedResponse>[] = [];
    for (const end = performance.now() + partMs; performance.now() < end; await wait(20))
      reads.push(send('GET', '/api/users/1', { authorization: `Bearer ${token}` }));
    const responses = await Promise.all(reads);
    for (const { status } of responses) assert.equal(status, 200);
    return responses.map(({ ms }) => ms).sort((a, b) => a - b);
  }

  it('gets 401 or 503 and does not delay other requests', async (t) => {
    await readSteadily();
    const quiet = await readSteadily();

    const statuses = new Map<number, number>();
    let flooding = true;
    let serial = 0;
    // Each login has its own address and user, so that no limit per address or user applies.
    const flood = Array.from({ length: concurrentLogins }, async () => {
      while (flooding) {
        serial += 1;
        const address = `198.${18 + (serial >> 16)}.${(serial >> 8) & 255}.${serial & 255}`;
        const { status } = await send(
          'POST',
          '/api/auth/login',
          { 'x-forwarded-for': address },
          {
            email: `unknown${serial}@example.com`,
            password: 'some password or other',
          },
        );
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        // The test is about the cost of password hashing, not about the number of requests.
        if (status === 503) await wait(300);
      }
    });
    const flooded = await readSteadily();
    flooding = false;
    await Promise.all(flood);

    const [before, during] = [quiet, flooded].map((sorted) => percentile(sorted, 99)) as [number, number];
    t.diagnostic(
      `p99 of GET /api/users/1: ${before.toFixed(1)} ms, during the flood ${during.toFixed(1)} ms; logins: ${JSON.stringify([...statuses])}`,
    );
    assert.deepEqual(
      [...statuses.keys()].filter((status) => ![401, 503, 504].includes(status)),
      [],
    );
    assert.ok((statuses.get(401) ?? 0) > 0, 'some passwords were verified');
    assert.ok((statuses.get(503) ?? 0) > 0, 'some logins exceeded the queue');
    // Without a bounded queue it takes the time of hundreds of logins. The limit leaves room for a busy or slow machine.
    assert.ok(
      during < Math.max(2000, 100 * before, 100 * loginMs),
      `${during} ms, a login takes ${loginMs} ms`,
    );
  });
});
