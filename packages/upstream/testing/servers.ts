import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TestContext } from 'node:test';

/** A server on its own loopback address. */
export interface TestServer {
  readonly address: string;
  /** Received requests in order. */
  readonly requests: readonly IncomingMessage[];
  /** Open connections. */
  readonly sockets: ReadonlySet<Socket>;
  /** Handler of requests; can be replaced. */
  behavior: RequestListener;
  /** Handler of upgrades; by default it closes the connection. */
  onUpgrade: (request: IncomingMessage, socket: Duplex) => void;
  /** Closes the port and all connections, like a process that exits. */
  stop(): Promise<void>;
  /** Listens again on the same port. */
  start(): Promise<void>;
}

/** Starts servers on 127.0.0.1, 127.0.0.2 … with the same port, like the pods of a service. They stop at the end of the test. */
export async function startServers(
  context: TestContext,
  count: number,
  behavior: RequestListener = (_request, response) => void response.end('ok'),
): Promise<{ servers: readonly TestServer[]; addresses: string[]; port: number }> {
  for (;;) {
    const servers = Array.from({ length: count }, (_, index) => createTestServer(index + 1, behavior));
    let port = 0;
    try {
      for (const server of servers) port = await server.listen(port);
    } catch (error) {
      await Promise.all(servers.map((server) => server.stop()));
      // The free port of the first address is in use on another one.
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') continue;
      throw error;
    }
    context.after(() => Promise.all(servers.map((server) => server.stop())));
    return { servers, addresses: servers.map(({ address }) => address), port };
  }
}

function createTestServer(
  number: number,
  behavior: RequestListener,
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
    behavior,
    onUpgrade: (_request: IncomingMessage, socket: Duplex) => void socket.destroy(),
    async listen(requestedPort: number) {
      const started = createServer((request, response) => {
        requests.push(request);
        self.behavior(request, response);
      });
      started.on('connection', (socket) => {
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket));
      });
      started.on('upgrade', (request, socket) => self.onUpgrade(request, socket));
      await new Promise<void>((resolve, reject) => {
        started.once('error', reject).listen(requestedPort, address, resolve);
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
