import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { planSystem } from './services.ts';
import { untilServed } from './until-served.ts';

interface Reply {
  readonly status: number;
  readonly data: unknown;
}

/** Starts a server that sends one reply after the other, and repeats the last one. */
async function startGateway(replies: readonly Reply[]): Promise<{ server: Server; paths: string[] }> {
  const paths: string[] = [];
  const server = createServer((request, response) => {
    const reply = replies[Math.min(paths.length, replies.length - 1)];
    paths.push(request.url ?? '');
    response
      .writeHead(reply?.status ?? 500, { connection: 'close' })
      .end(JSON.stringify({ data: reply?.data }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, paths };
}

function planFor(server: Server, env: NodeJS.ProcessEnv = {}) {
  return planSystem({ ...env, ZERDA_GATEWAY_PORT: String((server.address() as AddressInfo).port) });
}

const running = new AbortController().signal;

describe('untilServed', () => {
  it('resolves with true when the gateway sends a complete response', async () => {
    const { server, paths } = await startGateway([
      { status: 503, data: undefined },
      { status: 200, data: { degraded: [{}] } },
      { status: 200, data: { total_users: 3 } },
    ]);
    try {
      assert.equal(await untilServed(planFor(server), { signal: running }), true);
      assert.deepEqual(paths, ['/api/dashboard', '/api/dashboard', '/api/dashboard']);
    } finally {
      server.close();
    }
  });

  it('rejects if the gateway sends none within the deadline', async () => {
    const { server } = await startGateway([{ status: 200, data: { overall_status: 'degraded' } }]);
    const plan = planFor(server, { AUTH: 'required' });
    try {
      await assert.rejects(
        untilServed(plan, { signal: running, deadlineMs: 50 }),
        /did not reach both services within 50 ms/,
      );
    } finally {
      server.close();
    }
  });

  it('resolves with false when the services stop', { timeout: 10_000 }, async () => {
    const { server } = await startGateway([{ status: 503, data: undefined }]);
    const stopping = new AbortController();
    try {
      const served = untilServed(planFor(server), { signal: stopping.signal });
      await once(server, 'request');
      stopping.abort();
      assert.equal(await served, false);
    } finally {
      server.close();
    }
  });

  it('sends no request if another route table is set, which may have other paths', async () => {
    const { server, paths } = await startGateway([{ status: 404, data: undefined }]);
    try {
      assert.equal(
        await untilServed(planFor(server, { ROUTES_FILE: 'routes.yaml' }), { signal: running }),
        true,
      );
      assert.deepEqual(paths, []);
    } finally {
      server.close();
    }
  });
});
