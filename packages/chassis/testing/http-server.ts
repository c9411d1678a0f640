import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

/** An HTTP server in this process on a port of 127.0.0.1. */
export interface TestServer {
  readonly server: Server;
  readonly port: number;
  readonly url: string;
  /** Closes all connections and stops listening. */
  stop(): Promise<void>;
}

/** Starts a server for a suite, which stops it. @param port a free one by default */
export async function openHttpServer(listener: RequestListener, port = 0): Promise<TestServer> {
  const server = createServer({ requireHostHeader: false }, listener).listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  return {
    server,
    port: address.port,
    url: `http://127.0.0.1:${address.port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Starts a server that stops at the end of the test. */
export async function startHttpServer(
  context: TestContext,
  ...options: Parameters<typeof openHttpServer>
): Promise<TestServer> {
  const server = await openHttpServer(...options);
  context.after(server.stop);
  return server;
}
