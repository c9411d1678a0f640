import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { Deadline } from '@zerda/chassis/deadline';
import { Failure } from '@zerda/chassis/failure';
import { createUpstream } from '@zerda/chassis/http-client/upstream';
import { runInContext } from '@zerda/chassis/request-context';
import { isFailure, silentLogger, testMetrics } from '@zerda/chassis/testing';
import type { UserDirectory } from './domain/place-order.ts';
import { createHttpUserDirectory } from './http-user-directory.ts';

async function directoryBefore(
  context: TestContext,
  service: RequestListener,
  timeoutMs = 5000,
): Promise<{ users: UserDirectory; stop: () => Promise<void> }> {
  const server = createServer(service);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const closes: (() => unknown)[] = [];
  const upstream = createUpstream({
    name: 'user-service',
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    timeoutMs,
    maxConnections: 4,
    circuit: { errorPercent: 50, volume: 3, windowMs: 10_000, resetMs: 100_000 },
    metrics: testMetrics(),
    logger: silentLogger(),
    lifecycle: { onShutdown: (_name, close) => void closes.push(close) },
  });
  async function stop(): Promise<void> {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  context.after(async () => {
    for (const close of closes) await close();
    await stop();
  });
  return { users: createHttpUserDirectory(upstream), stop };
}

function answering(status: number, problem?: string): RequestListener {
  return (_request, response) => {
    response.writeHead(status, {
      'content-type': 'application/json',
      ...(problem && { 'x-problem': problem }),
    });
    response.end('{}');
  };
}

const unavailable = isFailure('dependency-unavailable');

describe('user directory', () => {
  it("asks in the name of the caller, and in nobody's where there is none", async (context) => {
    const tokens: (string | undefined)[] = [];
    const { users } = await directoryBefore(context, (request, response) => {
      tokens.push(request.headers.authorization);
      response.end('{}');
    });
    const deadline = Deadline.after(1000);
    await runInContext({ correlationId: 'a', deadline, authorization: 'Bearer theirs' }, () =>
      users.exists(7),
    );
    await users.exists(7);
    assert.deepEqual(tokens, ['Bearer theirs', undefined]);
  });

  it('says that the caller is known no more when user-service does', async (context) => {
    const { users } = await directoryBefore(context, answering(401, 'unauthenticated'));
    await assert.rejects(users.exists(7), { code: 'unauthenticated' });
  });

  it('asks for the user by id', async (context) => {
    const paths: (string | undefined)[] = [];
    const { users } = await directoryBefore(context, (request, response) => {
      paths.push(request.url);
      response.end('{}');
    });
    assert.equal(await users.exists(7), true);
    assert.deepEqual(paths, ['/api/users/7']);
  });

  it('knows that a user does not exist only when user-service says so', async (context) => {
    const { users } = await directoryBefore(context, answering(404, 'user-not-found'));
    assert.equal(await users.exists(7), false);
  });

  it('does not take the 404 of something else for the answer of user-service', async (context) => {
    const { users } = await directoryBefore(context, answering(404, 'not-found'));
    await assert.rejects(users.exists(7), unavailable);
  });

  it('leaves the question open when user-service fails, hangs or is away', async (context) => {
    const failing = await directoryBefore(context, answering(500));
    await assert.rejects(failing.users.exists(7), unavailable);

    const hanging = await directoryBefore(context, () => undefined, 200);
    const askedAt = performance.now();
    await assert.rejects(hanging.users.exists(7), unavailable);
    assert.ok(performance.now() - askedAt < 2000);

    const away = await directoryBefore(context, answering(200));
    await away.stop();
    await assert.rejects(away.users.exists(7), unavailable);
  });

  it('says when to come back once the circuit is open', async (context) => {
    const { users } = await directoryBefore(context, answering(500));
    for (let count = 0; count < 3; count += 1) await assert.rejects(users.exists(7), unavailable);
    await assert.rejects(users.exists(7), (error) => {
      assert.ok(error instanceof Failure);
      assert.equal(error.headers['Retry-After'], '10');
      return true;
    });
  });
});
