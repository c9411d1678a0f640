import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('testing-service.ts', import.meta.url));

describe('a service process', () => {
  let child: ChildProcess;
  let agent: Agent;
  let output = '';

  function start(behaviour: string, deadlineMs = 1000): void {
    output = '';
    agent = new Agent({ keepAlive: true });
    child = spawn(process.execPath, ['--import', 'tsx', program, behaviour, String(deadlineMs)], {
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

  async function respond(port: number, path: string): Promise<{ status: number | undefined; text: string }> {
    const [response] = (await once(get({ port, path, host: '127.0.0.1', agent }), 'response')) as [
      IncomingMessage,
    ];
    let text = '';
    for await (const chunk of response) text += chunk;
    return { status: response.statusCode, text };
  }

  afterEach(() => {
    agent.destroy();
    if (child.exitCode === null) child.kill('SIGKILL');
  });

  it('ends with 0 on SIGTERM: answers what is in hand, waits for no idle or hanging client, closes its resources', async () => {
    start('plain', 2000);
    const { api } = await ports();
    await respond(api, '/');
    const hanging = connect(api, '127.0.0.1').on('error', () => undefined);
    hanging.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf');
    await once(hanging, 'connect');
    const slow = respond(api, '/slow');
    // The idle connection is taken by /slow: this one stays idle.
    await respond(api, '/');
    child.kill('SIGTERM');
    const [answer, { code, ms }] = await Promise.all([slow, ended()]);
    assert.deepEqual(answer, { status: 200, text: 'whole' });
    assert.equal(code, 0);
    assert.ok(ms < 3000, `${ms} ms`);
    assert.match(output, /^database closed$/m);
    hanging.destroy();
  });

  it('is not ready at once, but alive and serving, while it drains', async () => {
    start('draining');
    const { api, management } = await ports();
    assert.equal((await respond(management, '/readyz')).status, 200);
    child.kill('SIGTERM');
    while ((await respond(management, '/readyz')).status === 200);
    assert.equal((await respond(management, '/livez')).status, 200);
    assert.deepEqual(await respond(api, '/'), { status: 200, text: 'quick' });
    assert.equal((await ended()).code, 0);
  });

  it('ends at once on the second SIGTERM', async () => {
    start('stuck', 10_000);
    await ports();
    child.kill('SIGTERM');
    while (!output.includes('"stopping"')) await once(child.stdout as NodeJS.ReadableStream, 'data');
    child.kill('SIGTERM');
    const { code, ms } = await ended();
    assert.equal(code, 1);
    assert.ok(ms < 2000, `${ms} ms`);
  });

  it('ends with 1 when closing outlasts the deadline', async () => {
    start('stuck', 200);
    await ports();
    child.kill('SIGTERM');
    assert.equal((await ended()).code, 1);
  });

  it('closes its resources and ends with 1 after an error nobody caught', async () => {
    start('plain');
    const { api } = await ports();
    const pending = assert.rejects(respond(api, '/crash'));
    assert.equal((await ended()).code, 1);
    await pending;
    assert.match(output, /nobody caught this/);
    assert.match(output, /^database closed$/m);
  });

  it('tells what must be put right in one line, and ends with its exit code', async () => {
    start('misconfigured');
    assert.equal((await ended()).code, 78);
    assert.equal(output, 'testing-service: PORT must be set\n');
  });

  it('tells a fault of the code with its stack, and ends with 1', async () => {
    start('faulty');
    assert.equal((await ended()).code, 1);
    assert.match(output, /^testing-service: TypeError: a fault of the code\n\s+at /);
  });
});
