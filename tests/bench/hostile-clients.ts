import { setMaxListeners } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

/** What a hostile client does, again and again. */
export const hostileKinds = [
  'slow senders',
  'slow readers',
  'health pollers',
  'reconnecting clients',
] as const;

export type HostileKind = (typeof hostileKinds)[number];

export interface HostilePlan {
  readonly kind: HostileKind;
  /** Port of the loopback. */
  readonly port: number;
  /** Clients at once. */
  readonly clients: number;
  /** Addresses that they share. */
  readonly addresses: number;
  /** Path of a response that slow readers ask for. */
  readonly largePath: string;
  /** Path that clients ask for who open a connection for each request. */
  readonly smallPath: string;
  /** Milliseconds until all of them leave. */
  readonly milliseconds: number;
}

export interface HostileResult {
  /** Connections that were opened. */
  readonly connections: number;
  /** Responses by status: of the first one on each connection, and of all for health pollers. */
  readonly statuses: Readonly<Record<string, number>>;
}

/** Milliseconds before a client whose connection ended comes back. */
const comeBackMs = 1000;
/** Milliseconds between two requests of a client that opens a connection for each. */
const reconnectMs = 250;

/** Sends what each kind of client sends, and reads or does not read. */
const behaviours: Readonly<
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
    // The head, then nothing more; who is refused comes back.
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

/** Lets hostile clients do as they do, until the time is over. */
export async function runHostileClients(plan: HostilePlan): Promise<HostileResult> {
  const { kind, port, clients, addresses, milliseconds } = plan;
  const statuses: Record<string, number> = {};
  const sockets = new Set<Socket>();
  let connections = 0;
  const endAt = performance.now() + milliseconds;
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);

  /** One connection, to its end. */
  function useConnection(localAddress: string): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect({ port, host: '127.0.0.1', localAddress });
      let timer: NodeJS.Timeout | undefined;
      sockets.add(socket);
      socket.on('connect', () => {
        connections += 1;
        timer = behaviours[kind](socket, plan);
      });
      socket.on('data', (chunk: Buffer) => {
        const status = /^HTTP\/1\.1 (\d+) /.exec(chunk.toString('latin1', 0, 16))?.[1];
        if (status !== undefined) statuses[status] = (statuses[status] ?? 0) + 1;
      });
      // What breaks is opened again.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        clearInterval(timer);
        sockets.delete(socket);
        resolve();
      });
    });
  }

  async function beClient(index: number): Promise<void> {
    const address = `127.50.0.${(index % addresses) + 1}`;
    const pauseMs = kind === 'reconnecting clients' ? reconnectMs : comeBackMs;
    // They do not all come at once.
    await wait(Math.random() * 1000, undefined, { signal: stop.signal });
    while (performance.now() < endAt) {
      await useConnection(address);
      await wait(pauseMs, undefined, { signal: stop.signal });
    }
  }

  const running = Promise.allSettled(Array.from({ length: clients }, (_, index) => beClient(index)));
  await wait(milliseconds);
  stop.abort();
  for (const socket of sockets) socket.destroy();
  await running;
  return { connections, statuses };
}
