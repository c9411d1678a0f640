import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TestContext } from 'node:test';

/** A server on a loopback address of its own. */
export interface TestServer {
  readonly address: string;
  /** Requests it got, the first one first. */
  readonly requests: readonly IncomingMessage[];
  /** Connections that are open. */
  readonly sockets: ReadonlySet<Socket>;
  /** What it does with a request from now on. */
  behaviour: RequestListener;
  /** What it does with a connection that is upgraded; it closes it unless the test says otherwise. */
  onUpgrade: (request: IncomingMessage, socket: Duplex) => void;
  /** Closes the port and every connection, as a process does that ends. */
  stop(): Promise<void>;
  /** Listens again. */
  start(): Promise<void>;
}

/** Servers on 127.0.0.1, 127.0.0.2 …, all with the same port, as the pods of a service have it. They end with the test. */
export async function startServers(
  context: TestContext,
  count: number,
  behaviour: RequestListener = (_request, response) => void response.end('ok'),
): Promise<{ servers: readonly TestServer[]; addresses: string[]; port: number }> {
  for (;;) {
    const servers = Array.from({ length: count }, (_, index) => createTestServer(index + 1, behaviour));
    let port = 0;
    try {
      for (const server of servers) port = await server.listen(port);
    } catch (error) {
      await Promise.all(servers.map((server) => server.stop()));
      // The port that was free on the first address is in use on another.
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') continue;
      throw error;
    }
    context.after(() => Promise.all(servers.map((server) => server.stop())));
    return { servers, addresses: servers.map(({ address }) => address), port };
  }
}

function createTestServer(
  number: number,
  behaviour: RequestListener,
): TestServer & { listen(port: number): Promise<number> } {
  const address = `127.0.0.${number}`;
  const requests: IncomingMessage[] = [];
  const sockets = new Set<Socket>();
  let port = 0;
  let server: Server | undefined;

  const self = {
    address,
    requests,
    sockets,
    behaviour,
    onUpgrade: (_request: IncomingMessage, socket: Duplex) => void socket.destroy(),
    async listen(wanted: number) {
      const started = createServer((request, response) => {
        requests.push(request);
        self.behaviour(request, response);
      });
      started.on('connection', (socket) => {
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket));
      });
      started.on('upgrade', (request, socket) => self.onUpgrade(request, socket));
      await new Promise<void>((resolve, reject) => {
        started.once('error', reject).listen(wanted, address, resolve);
      });
      server = started;
      ({ port } = started.address() as AddressInfo);
      return port;
    },
    async start() {
      await self.listen(port);
    },
    async stop() {
      const stopped = server;
      server = undefined;
      if (stopped === undefined) return;
      const closed = new Promise((resolve) => stopped.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return self;
}

/** Waits until something is so; fails when it is not within 5 s. */
export async function until(isSo: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!isSo()) {
    if (Date.now() > end) throw new Error(`never so: ${isSo}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
