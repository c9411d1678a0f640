import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import { Deadline } from '@zerda/chassis/deadline';
import { Failure } from '@zerda/chassis/failure';
import { runInContext } from '@zerda/chassis/request-context';
import { startHttpServer } from '@zerda/chassis/testing/http-server';
import { isFailure, silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { createUpstream } from '@zerda/upstream/upstream';
import type { UserDirectory } from '../domain/place-order.ts';
import { createHttpUserDirectory } from './http-user-directory.ts';

async function openDirectory(
  context: TestContext,
  service: RequestListener,
  timeoutMs = 5000,
): Promise<{ users: UserDirectory; stop: () => Promise<void> }> {
  const { url, stop } = await startHttpServer(context, service);
  const closes: (() => unknown)[] = [];
  const upstream = createUpstream({
    name: 'user-service',
    baseUrl: url,
    timeoutMs,
    maxConnections: 4,
    circuit: { errorPercent: 50, volume: 3, windowMs: 10_000, resetMs: 100_000 },
    metrics: testMetrics(),
    logger: silentLogger(),
    lifecycle: { onShutdown: (_name, close) => void closes.push(close) },
  });
  context.after(async () => {
    for (const close of closes) await close();
  });
  return { users: createHttpUserDirectory(upstream), stop };
}

function responding(status: number, problem?: string): RequestListener {
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
  it('sends the access token of the caller, if there is one', async (context) => {
    const tokens: (string | undefined)[] = [];
    const { users } = await openDirectory(context, (request, response) => {
      tokens.push(request.headers.authorization);
      response.end('{}');
    });
    const deadline = Deadline.after(1000);
    await runInContext({ correlationId: 'a', deadline, authorization: 'Bearer token' }, () =>
      users.exists(7),
    );
    await users.exists(7);
    assert.deepEqual(tokens, ['Bearer token', undefined]);
  });

  it('throws unauthenticated when user-service rejects the token', async (context) => {
    const { users } = await openDirectory(context, responding(401, 'unauthenticated'));
    await assert.rejects(users.exists(7), { code: 'unauthenticated' });
  });

  it('requests the user by id', async (context) => {
    const paths: (string | undefined)[] = [];
    const { users } = await openDirectory(context, (request, response) => {
      paths.push(request.url);
      response.end('{}');
    });
    assert.equal(await users.exists(7), true);
    assert.deepEqual(paths, ['/api/users/7']);
  });

  it('returns false when user-service returns user-not-found', async (context) => {
    const { users } = await openDirectory(context, responding(404, 'user-not-found'));
    assert.equal(await users.exists(7), false);
  });

  it('throws dependency-unavailable for any other 404', async (context) => {
    const { users } = await openDirectory(context, responding(404, 'not-found'));
    await assert.rejects(users.exists(7), unavailable);
  });

  it('throws dependency-unavailable when user-service fails, hangs or is down', async (context) => {
    const failing = await openDirectory(context, responding(500));
    await assert.rejects(failing.users.exists(7), unavailable);

    const hanging = await openDirectory(context, () => undefined, 200);
    const startedAt = performance.now();
    await assert.rejects(hanging.users.exists(7), unavailable);
    assert.ok(performance.now() - startedAt < 2000);

    const stopped = await openDirectory(context, responding(200));
    await stopped.stop();
    await assert.rejects(stopped.users.exists(7), unavailable);
  });

  it('returns Retry-After of the open circuit', async (context) => {
    const { users } = await openDirectory(context, responding(500));
    for (let count = 0; count < 3; count += 1) await assert.rejects(users.exists(7), unavailable);
    await assert.rejects(users.exists(7), (error) => {
      assert.ok(error instanceof Failure);
      assert.equal(error.retryAfterSeconds, 10);
      return true;
    });
  });
});
