import { setMaxListeners } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

/** Kinds of hostile clients. */
export const hostileKinds = [
  'slow senders',
  'slow readers',
  'health pollers',
  'reconnecting clients',
] as const;

export type HostileKind = (typeof hostileKinds)[number];

export interface HostilePlan {
  readonly kind: HostileKind;
  /** Loopback port of the gateway. */
  readonly port: number;
  /** Number of concurrent clients. */
  readonly clients: number;
  /** Number of addresses that the clients share. */
  readonly addresses: number;
  /** Path of the response that slow readers request. */
  readonly largePath: string;
  /** Path that reconnecting clients request. */
  readonly smallPath: string;
  /** Milliseconds until all clients disconnect. */
  readonly milliseconds: number;
}

export interface HostileResult {
  /** Number of connections opened. */
  readonly connections: number;
  /** Number of responses by status. Only the health pollers send more than one request per connection. */
  readonly statuses: Readonly<Record<string, number>>;
}

/** Milliseconds before a client reconnects after its connection has ended. */
const reconnectDelayMs = 1000;
/** Milliseconds between two requests of a reconnecting client. */
const requestIntervalMs = 250;

/** Behavior of each kind on a new connection. Returns the timer of repeated writes, if any. */
const behaviors: Readonly<
  Record<HostileKind, (socket: Socket, plan: HostilePlan) => NodeJS.Timeout | undefined>
> = {
  'slow senders'(socket) {
    socket.write(
      'POST /api/users HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n',
    );
    return setInterval(() => socket.write(' '), 1000);
  },
  'slow readers'(socket, { largePath }) {
    socket.write(`GET ${largePath} HTTP/1.1\r\nHost: a\r\n\r\n`);
    // Reads the head only. A rejected client disconnects, and connects again later.
    socket.once('data', (chunk) => {
      if (chunk.toString('latin1', 9, 12) === '200') socket.pause();
      else socket.destroy();
    });
    return undefined;
  },
  'health pollers'(socket) {
    const poll = (): unknown => socket.write('GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n');
    poll();
    return setInterval(poll, 1000);
  },
  'reconnecting clients'(socket, { smallPath }) {
    socket.write(`GET ${smallPath} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    return undefined;
  },
};

/** Runs hostile clients until the time is over. */
export async function runHostileClients(plan: HostilePlan): Promise<HostileResult> {
  const { kind, port, clients, addresses, milliseconds } = plan;
  const statuses: Record<string, number> = {};
  const sockets = new Set<Socket>();
  let connections = 0;
  const endAt = performance.now() + milliseconds;
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);

  /** Opens a connection and resolves when it has closed. */
  function useConnection(localAddress: string): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect({ port, host: '127.0.0.1', localAddress });
      let timer: NodeJS.Timeout | undefined;
      sockets.add(socket);
      socket.on('connect', () => {
        connections += 1;
        timer = behaviors[kind](socket, plan);
      });
      socket.on('data', (chunk: Buffer) => {
        const status = /^HTTP\/1\.1 (\d+) /.exec(chunk.toString('latin1', 0, 16))?.[1];
        if (status !== undefined) statuses[status] = (statuses[status] ?? 0) + 1;
      });
      // The client reconnects after an error.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        clearInterval(timer);
        sockets.delete(socket);
        resolve();
      });
    });
  }

  async function runClient(index: number): Promise<void> {
    const address = `127.50.0.${(index % addresses) + 1}`;
    const pauseMs = kind === 'reconnecting clients' ? requestIntervalMs : reconnectDelayMs;
    // Spreads the first connections over a second.
    await wait(Math.random() * 1000, undefined, { signal: stop.signal });
    while (performance.now() < endAt) {
      await useConnection(address);
      await wait(pauseMs, undefined, { signal: stop.signal });
    }
  }

  const running = Promise.allSettled(Array.from({ length: clients }, (_, index) => runClient(index)));
  await wait(milliseconds);
  stop.abort();
  for (const socket of sockets) socket.destroy();
  await running;
  return { connections, statuses };
}
