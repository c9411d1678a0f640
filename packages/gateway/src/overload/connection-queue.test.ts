import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { startHttpServer } from '@zerda/chassis/testing/http-server';
import { eventually } from '@zerda/chassis/testing/wait';
import { type ConnectionQueueOptions, createConnectionQueue, queueConnections } from './connection-queue.ts';

/** Creates a queue and lists the connections that have started. */
function startQueue(options?: ConnectionQueueOptions) {
  const queue = createConnectionQueue(options);
  const started: string[] = [];
  return {
    started,
    /** Adds connections named after the first character of their network, all in the same turn. */
    add(...names: string[]): void {
      for (const name of names) queue.add(name.charAt(0), () => started.push(name));
    },
  };
}

describe('connection queue', () => {
  it('starts the first connection of each network at once', () => {
    const { add, started } = startQueue();
    add('a1', 'b1', 'a2', 'c1', 'a3');
    assert.deepEqual(started, ['a1', 'b1', 'c1']);
  });

  it('starts waiting connections of the networks in turn, one per turn of the event loop', async () => {
    const { add, started } = startQueue();
    add('a1', 'a2', 'a3', 'b1', 'b2');
    started.length = 0;
    for (const name of ['a2', 'b2', 'a3']) {
      await nextTurn();
      assert.equal(started.length, 1);
      assert.equal(started.pop(), name);
    }
  });

  it('starts a connection of a new network before all that wait', async () => {
    const { add, started } = startQueue();
    add('a1', 'a2', 'a3', 'a4');
    await nextTurn();
    add('b1');
    assert.deepEqual(started, ['a1', 'a2', 'b1']);
  });

  it('starts no waiting connection in turns in which others are added, except one for each sixteen', async () => {
    const { add, started } = startQueue();
    for (let count = 1; count <= 48; count += 1) {
      add(`a${count}`);
      await nextTurn();
    }
    assert.deepEqual(started, ['a1', 'a2', 'a3']);
  });

  it('starts connections of a network at once again after a turn without any', async () => {
    const { add, started } = startQueue();
    add('a1');
    await nextTurn();
    await nextTurn();
    add('a2');
    assert.deepEqual(started, ['a1', 'a2']);
  });

  it('defers other work for a client until no further connections are added', async () => {
    const queue = createConnectionQueue();
    const done: string[] = [];
    queue.add('a', () => done.push('a1'));
    await nextTurn();
    queue.defer('b', () => done.push('deferred'));
    for (let count = 2; count <= 5; count += 1) {
      queue.add('a', () => done.push(`a${count}`));
      await nextTurn();
    }
    assert.deepEqual(done, ['a1']);
    await nextTurn();
    assert.deepEqual(done, ['a1', 'deferred']);
  });

  it('does one piece of deferred work for each connection that starts at once', async () => {
    const queue = createConnectionQueue();
    let done = 0;
    for (let count = 1; count <= 20; count += 1) {
      queue.add(`network ${count}`, () => undefined);
      queue.defer('a', () => {
        done += 1;
      });
      await nextTurn();
    }
    assert.equal(done, 20);
  });

  it('reports turns in which connections were added or wait', async () => {
    let turns = 0;
    const queue = createConnectionQueue({
      onWaiting: () => {
        turns += 1;
      },
    });
    queue.add('a', () => undefined);
    queue.add('a', () => undefined);
    for (let turn = 0; turn < 5; turn += 1) await nextTurn();
    assert.equal(turns, 1);
  });

  it('holds a limited number of connections', () => {
    const { add, started } = startQueue({ maxWaiting: 2 });
    add('a1', 'a2', 'a3', 'a4', 'a5');
    assert.deepEqual(started, ['a1', 'a2', 'a3']);
  });
});

describe('a server that queues connections', () => {
  /** Starts a server that records the addresses in the order of their requests. */
  async function startServer(context: TestContext) {
    const addresses: string[] = [];
    const { server, port } = await startHttpServer(context, (request, response) => {
      addresses.push(request.socket.remoteAddress ?? '');
      response.end('ok');
    });
    queueConnections(server, createConnectionQueue());
    return {
      addresses,
      /** Connects and sends a request in one turn of the event loop, so that the server sees all such clients at once. */
      send(localAddress: string): Socket {
        const socket = connect({ port, localAddress, host: '127.0.0.1' });
        context.after(() => socket.destroy());
        socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
        return socket;
      },
    };
  }

  it('responds to a client before the earlier connections of others', async (context) => {
    const { addresses, send } = await startServer(context);
    for (let index = 0; index < 200; index += 1) send('127.50.0.1');
    send('127.51.0.1');
    await eventually(() => addresses.length === 201, 'all requests');
    const position = addresses.indexOf('127.51.0.1');
    assert.ok(position < 30, `request ${position}`);
  });

  it('serves further requests on a connection that waited', async (context) => {
    const { send } = await startServer(context);
    send('127.50.0.1');
    const socket = send('127.50.0.1');
    for (let count = 0; count < 3; count += 1) {
      const [data] = (await once(socket, 'data')) as [Buffer];
      assert.match(data.toString(), /^HTTP\/1\.1 200 /);
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    }
  });
});
