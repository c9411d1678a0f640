import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { HttpResponse } from '../../packages/chassis/testing/http.ts';
import { type HostileKind, runHostileClients } from '../bench/hostile-clients.ts';
import { openTarget, type Target, type User } from './lib/target.ts';

/** Seconds during which hostile clients are connected. */
const seconds = Number(process.env.ATTACK_SECONDS ?? 5);

/** Number of concurrent clients of each kind; `npm run bench -- --hostile-load` uses thousands. */
const clients: Readonly<Record<HostileKind, number>> = {
  'slow senders': 300,
  'slow readers': 300,
  'health pollers': 100,
  'reconnecting clients': 50,
};

describe('hostile clients', () => {
  let target: Target;
  let user: User;

  before(async () => {
    target = await openTarget();
    user = await target.createUser();
    await target.logIn(user, '127.10.0.1');
  });
  after(() => target?.close());

  for (const [kind, count] of Object.entries(clients) as [HostileKind, number][])
    it(`do not make other clients' requests and logins fail: ${kind}`, async (context) => {
      const opened = await target.gatewayMetric('circuit_breaker_events_total', 'event="open"');
      const hostile = runHostileClients({
        kind,
        clients: count,
        addresses: 10,
        milliseconds: seconds * 1000,
        port: Number(new URL(target.system.gateway.url).port),
        largePath: '/openapi.json',
        smallPath: '/api/users/health',
      });
      const normal: HttpResponse[] = [];
      const endAt = performance.now() + seconds * 1000;
      while (performance.now() < endAt) {
        const token = await target.adminToken();
        normal.push(
          ...(await Promise.all([
            target.client.send('GET', '/api/users', { token }),
            target.client.send('GET', '/api/orders', { token }),
            target.client.send('GET', '/api/health'),
            target.tryLogIn(user, '127.10.0.1'),
          ])),
        );
        await wait(50);
      }
      const { connections, statuses } = await hostile;
      const failed = normal.filter(({ status }) => status !== 200);
      context.diagnostic(
        `${connections} hostile connections: ${JSON.stringify(statuses)}; ${normal.length} normal requests, ${failed.length} failed, ` +
          `slowest ${Math.round(Math.max(...normal.map(({ ms }) => ms)))} ms`,
      );
      assert.deepEqual(
        failed.map(({ status, body }) => [status, body?.type]),
        [],
      );
      assert.ok(connections >= count, `${connections} connections`);
      assert.equal(await target.gatewayMetric('circuit_breaker_events_total', 'event="open"'), opened);
    });

  it('do not delay new connections of other clients: a burst of connections', async (context) => {
    const positions: number[] = [];
    // On a busy machine, responses to the burst can be on their way before the other client connects.
    while (positions.length < 3 && positions.every((position) => position >= burst * 0.75))
      positions.push(await positionBehindBurst());
    context.diagnostic(`response ${positions.join(', ')} of ${burst + 1}`);
    // In the order of the connections it would always be the last one.
    assert.ok((positions.at(-1) ?? burst) < burst * 0.75, `response ${positions.join(', ')} of ${burst + 1}`);
  });

  /** Opens many connections from one address and then one from another. Returns how many of the many get their response first. */
  async function positionBehindBurst(): Promise<number> {
    const port = Number(new URL(target.system.gateway.url).port);
    let responses = 0;
    const request = async (localAddress: string): Promise<void> => {
      const socket = connect({ port, localAddress, host: '127.0.0.1' });
      socket.write('GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      await once(socket, 'data');
      responses += 1;
      socket.destroy();
    };
    const hostile = Array.from({ length: burst }, () => request('127.50.1.1'));
    await request('127.51.1.1');
    const position = responses;
    await Promise.all(hostile);
    return position;
  }
});

/** Number of connections of a burst. */
const burst = 600;
