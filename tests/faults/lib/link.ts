import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * What can be wrong with a network between two. `drop`: what is sent arrives nowhere, and connections that were open stay so
 * without a word, also when the link is well again. `refuse`: connections are reset, and new ones too. `delay`: everything comes late.
 * `lose-answers`: what is asked arrives, what is answered does not, for good. `lose-requests`: the other way round. `reset-answers`: what is asked arrives, and amid its
 * answer the connection is reset.
 */
export const cuts = ['drop', 'refuse', 'delay', 'lose-answers', 'lose-requests', 'reset-answers'] as const;

export type Cut = (typeof cuts)[number];

/** A way by TCP that can be cut. */
export interface Link {
  readonly name: string;
  readonly port: number;
  cut(cut: Cut): void;
  heal(): void;
  /** Resets connections that lost something: whoever still holds one hears of it at last. */
  forget(): void;
  /** Closes every connection, and takes no more. */
  close(): Promise<void>;
}

export interface LinkOptions {
  readonly name: string;
  /** Ports on loopback; connections go to them in turn, and past those that refuse. */
  readonly targets: readonly number[];
  /** Port to listen on; a free one by default. */
  readonly port?: number;
  /** Milliseconds that everything comes late by while `delay` is on; 300 by default. */
  readonly delayMs?: number;
}

/** One direction of a connection: what is on its way, in its order. */
interface Flow {
  send(chunk: Buffer, delayMs: number): void;
  /** Ends the other side when all has arrived. */
  end(): void;
}

/** Starts a link on loopback. */
export async function openLink({ name, targets, port = 0, delayMs = 300 }: LinkOptions): Promise<Link> {
  const pairs = new Set<Pair>();
  let state: Cut | undefined;
  let turn = 0;

  async function reach(): Promise<Socket | undefined> {
    turn += 1;
    for (let tries = 0; tries < targets.length; tries += 1) {
      const target = quiet(connect(targets[(turn + tries) % targets.length] as number, '127.0.0.1'));
      try {
        await once(target, 'connect');
        return target;
      } catch {
        // The next one then.
      }
    }
    return undefined;
  }

  function accept(socket: Socket): void {
    const pair: Pair = { client: quiet(socket), target: undefined, askingLost: false, answeringLost: false };
    pairs.add(pair);
    pair.client.on('close', () => {
      if (pair.target === undefined) pairs.delete(pair);
    });
    if (state === 'refuse') {
      breakOff(pair.client);
      return;
    }
    if (state === 'drop') {
      lose(pair);
      return void pair.client.resume();
    }
    pair.client.pause();
    void reach().then((target) => {
      if (target === undefined || pair.client.destroyed) {
        breakOff(pair.client);
        target?.destroy();
        return;
      }
      join(pair, target);
    });
  }

  function join(pair: Pair, target: Socket): void {
    const { client } = pair;
    pair.target = target;
    if (state === 'drop') lose(pair);
    const asked = flowInto(target);
    const answered = flowInto(client);
    client.on('data', (chunk: Buffer) => {
      if (state === 'lose-requests') pair.askingLost = true;
      if (!pair.askingLost) asked.send(chunk, state === 'delay' ? delayMs : 0);
    });
    target.on('data', (chunk: Buffer) => {
      // Bytes that are lost amid a stream cannot be followed by others.
      if (state === 'lose-answers') pair.answeringLost = true;
      if (pair.answeringLost) return;
      if (state !== 'reset-answers') return answered.send(chunk, state === 'delay' ? delayMs : 0);
      pair.answeringLost = true;
      client.write(chunk.subarray(0, Math.floor(chunk.length / 2)), () => breakOff(client));
      breakOff(target);
    });
    client.on('close', () => {
      if (!pair.askingLost) asked.end();
      if (target.destroyed) pairs.delete(pair);
    });
    target.on('close', () => {
      if (!pair.answeringLost) answered.end();
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
      if (cut === 'drop') for (const pair of pairs) lose(pair);
    },
    heal() {
      state = undefined;
    },
    forget() {
      for (const pair of pairs) if (pair.askingLost || pair.answeringLost) reset(pair);
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const pair of pairs) reset(pair);
      await closed;
    },
  };
}

/** The two connections that are one to those who use the link. */
interface Pair {
  readonly client: Socket;
  /** Undefined until it is reached. */
  target: Socket | undefined;
  /** Whether what is asked arrives nowhere, and whether what is answered does not. */
  askingLost: boolean;
  answeringLost: boolean;
}

function lose(pair: Pair): void {
  pair.askingLost = true;
  pair.answeringLost = true;
}

function reset({ client, target }: Pair): void {
  breakOff(client);
  if (target !== undefined) breakOff(target);
}

/** Closes with a reset; a socket that is at its end already, libuv leaves open when it is asked for that. */
function breakOff(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

function quiet(socket: Socket): Socket {
  socket.setNoDelay(true);
  return socket.on('error', () => undefined);
}

function flowInto(socket: Socket): Flow {
  const waiting: { readonly chunk: Buffer | undefined; readonly at: number }[] = [];
  let timer: NodeJS.Timeout | undefined;

  function pump(): void {
    timer = undefined;
    for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
      const waitMs = first.at - performance.now();
      if (waitMs > 0) {
        timer = setTimeout(pump, Math.ceil(waitMs));
        return;
      }
      waiting.shift();
      if (first.chunk === undefined) socket.end();
      else socket.write(first.chunk);
    }
  }
  function add(chunk: Buffer | undefined, delayMs: number): void {
    waiting.push({ chunk, at: performance.now() + delayMs });
    if (timer === undefined) pump();
  }
  return { send: (chunk, delayMs) => add(chunk, delayMs), end: () => add(undefined, 0) };
}
