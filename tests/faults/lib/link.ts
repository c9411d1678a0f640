import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * Faults of a link. `drop`: loses all bytes; affected connections stay open and silent even after the link is healed. `refuse`: resets
 * existing and new connections. `delay`: delivers bytes late. `lose-responses`: delivers requests but loses responses, permanently for
 * each affected connection. `lose-requests`: the reverse. `reset-responses`: delivers requests and resets the connection in the middle
 * of the response.
 */
export const cuts = [
  'drop',
  'refuse',
  'delay',
  'lose-responses',
  'lose-requests',
  'reset-responses',
] as const;

export type Cut = (typeof cuts)[number];

/** A TCP proxy that injects network faults. */
export interface Link {
  readonly name: string;
  readonly port: number;
  cut(cut: Cut): void;
  heal(): void;
  /** Resets connections that have lost bytes, so that both sides notice. */
  resetLossy(): void;
  /** Closes all connections and stops listening. */
  close(): Promise<void>;
}

export interface LinkOptions {
  readonly name: string;
  /** Ports on loopback. Connections are distributed round-robin and skip targets that refuse. */
  readonly targets: readonly number[];
  /** Port to listen on; default: a free one. */
  readonly port?: number;
  /** Delay in milliseconds of the fault `delay`; default 300. */
  readonly delayMs?: number;
}

/** One direction of a connection, with its bytes in flight in order. */
interface Flow {
  send(chunk: Buffer, delayMs: number): void;
  /** Ends the socket after all bytes have been written. */
  end(): void;
}

/** Starts a link that listens on loopback. */
export async function openLink({ name, targets, port = 0, delayMs = 300 }: LinkOptions): Promise<Link> {
  const pairs = new Set<Pair>();
  let state: Cut | undefined;
  let turn = 0;

  async function connectToTarget(): Promise<Socket | undefined> {
    turn += 1;
    for (let tries = 0; tries < targets.length; tries += 1) {
      const target = prepareSocket(connect(targets[(turn + tries) % targets.length] as number, '127.0.0.1'));
      try {
        await once(target, 'connect');
        return target;
      } catch {
        // Try the next target.
      }
    }
    return undefined;
  }

  function accept(socket: Socket): void {
    const pair: Pair = {
      client: prepareSocket(socket),
      target: undefined,
      requestsLost: false,
      responsesLost: false,
    };
    pairs.add(pair);
    pair.client.on('close', () => {
      if (pair.target === undefined) pairs.delete(pair);
    });
    if (state === 'refuse') {
      resetSocket(pair.client);
      return;
    }
    if (state === 'drop') {
      dropBoth(pair);
      return void pair.client.resume();
    }
    pair.client.pause();
    void connectToTarget().then((target) => {
      if (target === undefined || pair.client.destroyed) {
        resetSocket(pair.client);
        target?.destroy();
        return;
      }
      connectPair(pair, target);
    });
  }

  function connectPair(pair: Pair, target: Socket): void {
    const { client } = pair;
    pair.target = target;
    if (state === 'drop') dropBoth(pair);
    const toTarget = createFlow(target);
    const toClient = createFlow(client);
    client.on('data', (chunk: Buffer) => {
      if (state === 'lose-requests') pair.requestsLost = true;
      if (!pair.requestsLost) toTarget.send(chunk, state === 'delay' ? delayMs : 0);
    });
    target.on('data', (chunk: Buffer) => {
      // After lost bytes, no later bytes of the stream may arrive.
      if (state === 'lose-responses') pair.responsesLost = true;
      if (pair.responsesLost) return;
      if (state !== 'reset-responses') return toClient.send(chunk, state === 'delay' ? delayMs : 0);
      pair.responsesLost = true;
      client.write(chunk.subarray(0, Math.floor(chunk.length / 2)), () => resetSocket(client));
      resetSocket(target);
    });
    client.on('close', () => {
      if (!pair.requestsLost) toTarget.end();
      if (target.destroyed) pairs.delete(pair);
    });
    target.on('close', () => {
      if (!pair.responsesLost) toClient.end();
      if (client.destroyed) pairs.delete(pair);
    });
    client.resume();
  }

  const server = createServer(accept).listen(port, '127.0.0.1');
  await once(server, 'listening');

  return {
    name,
    port: (server.address() as AddressInfo).port,
    cut(cut) {
      state = cut;
      if (cut === 'refuse') for (const pair of pairs) reset(pair);
      if (cut === 'drop') for (const pair of pairs) dropBoth(pair);
    },
    heal() {
      state = undefined;
    },
    resetLossy() {
      for (const pair of pairs) if (pair.requestsLost || pair.responsesLost) reset(pair);
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const pair of pairs) reset(pair);
      await closed;
    },
  };
}

/** The client's connection to the link and the link's connection to the target. */
interface Pair {
  readonly client: Socket;
  /** Undefined until it is connected. */
  target: Socket | undefined;
  /** Whether bytes in each direction are lost. */
  requestsLost: boolean;
  responsesLost: boolean;
}

function dropBoth(pair: Pair): void {
  pair.requestsLost = true;
  pair.responsesLost = true;
}

function reset({ client, target }: Pair): void {
  resetSocket(client);
  if (target !== undefined) resetSocket(target);
}

/** Closes a socket with a reset. libuv does not reset a socket that has already ended. */
function resetSocket(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

function prepareSocket(socket: Socket): Socket {
  socket.setNoDelay(true);
  return socket.on('error', () => undefined);
}

function createFlow(socket: Socket): Flow {
  const waiting: { readonly chunk: Buffer | undefined; readonly at: number }[] = [];
  let timer: NodeJS.Timeout | undefined;

  function flush(): void {
    timer = undefined;
    for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
      const waitMs = first.at - performance.now();
      if (waitMs > 0) {
        timer = setTimeout(flush, Math.ceil(waitMs));
        return;
      }
      waiting.shift();
      if (first.chunk === undefined) socket.end();
      else socket.write(first.chunk);
    }
  }
  function add(chunk: Buffer | undefined, delayMs: number): void {
    waiting.push({ chunk, at: performance.now() + delayMs });
    if (timer === undefined) flush();
  }
  return { send: (chunk, delayMs) => add(chunk, delayMs), end: () => add(undefined, 0) };
}
