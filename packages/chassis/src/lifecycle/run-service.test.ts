import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, it } from 'node:test';
import { type HttpResponse, sendRequest } from '../../testing/http.ts';
import { programArgs } from '../../testing/program.ts';

const program = new URL('../../testing/service-process.ts', import.meta.url);

describe('service process', () => {
  let child: ChildProcess;
  let agent: Agent;
  let output = '';

  function start(behavior: string, deadlineMs = 1000): void {
    output = '';
    agent = new Agent({ keepAlive: true });
    child = spawn(process.execPath, [...programArgs(program), behavior, String(deadlineMs)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
  }

  async function ports(): Promise<{ api: number; management: number }> {
    for (;;) {
      const [, api, management] = /^ports (\d+) (\d+)$/m.exec(output) ?? [];
      if (api !== undefined && management !== undefined)
        return { api: Number(api), management: Number(management) };
      await once(child.stdout as NodeJS.ReadableStream, 'data');
    }
  }

  async function ended(): Promise<{ code: number | null; ms: number }> {
    const startedAt = performance.now();
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, ms: performance.now() - startedAt };
  }

  async function respond(port: number, path: string): Promise<Pick<HttpResponse, 'status' | 'text'>> {
    const { status, text } = await sendRequest(`http://127.0.0.1:${port}${path}`, { agent });
    return { status, text };
  }

  afterEach(() => {
    agent.destroy();
    if (child.exitCode === null) child.kill('SIGKILL');
  });

  it('exits with 0 on SIGTERM after requests in flight, without waiting for idle or stalled clients', async () => {
    start('plain', 2000);
    const { api } = await ports();
    await respond(api, '/');
    const hanging = connect(api, '127.0.0.1').on('error', () => undefined);
    hanging.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf');
    await once(hanging, 'connect');
    const slow = respond(api, '/slow');
    // /slow uses the idle connection, so this one stays idle.
    await respond(api, '/');
    child.kill('SIGTERM');
    const [slowResponse, { code, ms }] = await Promise.all([slow, ended()]);
    assert.deepEqual(slowResponse, { status: 200, text: 'whole' });
    assert.equal(code, 0);
    assert.ok(ms < 3000, `${ms} ms`);
    assert.match(output, /^database closed$/m);
    hanging.destroy();
  });

  it('is unready but alive and serving while it drains', async () => {
    start('draining');
    const { api, management } = await ports();
    assert.equal((await respond(management, '/readyz')).status, 200);
    child.kill('SIGTERM');
    while ((await respond(management, '/readyz')).status === 200);
    assert.equal((await respond(management, '/livez')).status, 200);
    assert.deepEqual(await respond(api, '/'), { status: 200, text: 'quick' });
    assert.equal((await ended()).code, 0);
  });

  it('exits at once on a second SIGTERM', async () => {
    start('stuck', 10_000);
    await ports();
    child.kill('SIGTERM');
    while (!output.includes('"stopping"')) await once(child.stdout as NodeJS.ReadableStream, 'data');
    child.kill('SIGTERM');
    const { code, ms } = await ended();
    assert.equal(code, 1);
    assert.ok(ms < 2000, `${ms} ms`);
  });

  it('exits with 1 if the shutdown times out', async () => {
    start('stuck', 200);
    await ports();
    child.kill('SIGTERM');
    assert.equal((await ended()).code, 1);
  });

  it('closes its resources and exits with 1 after an uncaught exception', async () => {
    start('plain');
    const { api } = await ports();
    const pending = assert.rejects(respond(api, '/crash'));
    assert.equal((await ended()).code, 1);
    await pending;
    assert.match(output, /uncaught test error/);
    assert.match(output, /^database closed$/m);
  });

  it('reports a StartupError in one line and exits with its code', async () => {
    start('misconfigured');
    assert.equal((await ended()).code, 78);
    assert.equal(output, 'testing-service: PORT must be set\n');
  });

  it('reports a bug with its stack and exits with 1', async () => {
    start('faulty');
    assert.equal((await ended()).code, 1);
    assert.match(output, /^testing-service: TypeError: a bug\n\s+at /);
  });
});
