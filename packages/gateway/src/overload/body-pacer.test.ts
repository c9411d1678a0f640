import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { sendRequest } from '@zerda/chassis/testing/http';
import { eventually } from '@zerda/chassis/testing/wait';
import { startGateway } from '../../testing/gateway.ts';
import { type BodyPacer, createBodyPacer } from './body-pacer.ts';

const chunkBytes = 64 * 1024;

/** Uses up the bytes of this turn. */
function useTurn(pacer: BodyPacer): void {
  while (pacer.take(chunkBytes));
}

/** Makes this number of bodies wait. Returns the numbers of those that were resumed, in order. */
function startWaiting(pacer: BodyPacer, count: number): number[] {
  const resumed: number[] = [];
  for (let index = 0; index < count; index += 1) pacer.wait(() => resumed.push(index));
  return resumed;
}

describe('body pacer', () => {
  it('lets a mebibyte through per turn of the event loop', async () => {
    const pacer = createBodyPacer();
    let chunks = 1;
    while (pacer.take(chunkBytes)) chunks += 1;
    assert.equal(chunks, 16);
    await nextTurn();
    assert.equal(pacer.take(chunkBytes), true);
  });

  it('does not count small chunks', () => {
    const pacer = createBodyPacer();
    useTurn(pacer);
    assert.equal(pacer.take(1000), true);
  });

  it('resumes waiting bodies in order, sixteen per turn', async () => {
    const pacer = createBodyPacer();
    const resumed = startWaiting(pacer, 40);
    for (const count of [16, 32, 40]) {
      await nextTurn();
      assert.deepEqual(
        resumed,
        Array.from({ length: count }, (_, index) => index),
      );
    }
  });

  it('makes every body wait while others do, so that each has its turn', async () => {
    const pacer = createBodyPacer();
    startWaiting(pacer, 40);
    assert.equal(pacer.take(chunkBytes), false);
  });

  it('resumes one body in a turn after a new connection', async () => {
    const pacer = createBodyPacer();
    const resumed = startWaiting(pacer, 40);
    for (const count of [1, 2, 3]) {
      pacer.yieldToConnections();
      await nextTurn();
      assert.equal(resumed.length, count);
    }
    await nextTurn();
    assert.equal(resumed.length, 19);
  });
});

describe('a gateway that paces large bodies', () => {
  /** Starts a gateway whose pacer makes every body wait after every chunk, and counts that. */
  async function startPaced(context: TestContext) {
    const pacer = createBodyPacer();
    let waits = 0;
    const bodyPacer: BodyPacer = {
      ...pacer,
      take: () => false,
      wait(resume) {
        waits += 1;
        pacer.wait(resume);
      },
    };
    const gateway = await startGateway(context, { maxInFlight: 40, door: { bodyPacer } });
    return { gateway, waits: () => waits };
  }

  it('forwards every byte of thirty responses that are read at once', async (context) => {
    const { gateway, waits } = await startPaced(context);
    const body = Buffer.alloc(2 ** 21, 'abcdefg');
    gateway.users.listener = (_, response) => void response.end(body);
    const responses = await Promise.all(
      Array.from({ length: 30 }, () => sendRequest(`${gateway.url}/api/users`)),
    );
    for (const { status, text } of responses) {
      assert.equal(status, 200);
      assert.ok(text === body.toString(), 'the body is complete');
    }
    assert.ok(waits() > 0, 'some bodies waited');
  });

  it('forwards every byte of thirty uploads that are sent at once', async (context) => {
    const { gateway, waits } = await startPaced(context);
    const body = Buffer.alloc(2 ** 20, 'abcdefg');
    const received: Buffer[] = [];
    gateway.users.listener = async (request, response) => {
      received.push(Buffer.concat(await request.toArray()));
      response.end('{}');
    };
    await Promise.all(
      Array.from({ length: 30 }, async () => {
        const { status } = await sendRequest(`${gateway.url}/api/users`, { method: 'POST', body });
        assert.equal(status, 200);
      }),
    );
    assert.equal(received.length, 30);
    for (const upload of received) assert.ok(upload.equals(body), 'the body is complete');
    assert.ok(waits() > 0, 'some bodies waited');
  });

  it('ends the upstream response of a client that disconnects while its body waits', async (context) => {
    const { gateway, waits } = await startPaced(context);
    let closed = 0;
    gateway.users.listener = (_, response) => {
      response.once('close', () => {
        closed += 1;
      });
      response.end(Buffer.alloc(2 ** 24));
    };
    const { port } = new URL(gateway.url);
    const sockets = Array.from({ length: 40 }, () => connect(Number(port), '127.0.0.1').resume());
    for (const socket of sockets) socket.write('GET /api/users HTTP/1.1\r\nHost: a\r\n\r\n');
    await eventually(() => assert.ok(waits() > 0));
    for (const socket of sockets) socket.destroy();
    await eventually(() => assert.equal(closed, gateway.users.requests.length));
    gateway.users.listener = (_, response) => void response.end('[]');
    assert.equal((await sendRequest(`${gateway.url}/api/users`)).status, 200);
  });
});
