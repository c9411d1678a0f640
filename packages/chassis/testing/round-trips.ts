import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy in front of a server. It counts how often the client sends after it has received. */
export interface RoundTripCounter {
  /** URL of the server through the proxy. */
  readonly url: string;
  /** Round trips of all connections so far. */
  readonly count: number;
  close(): void;
}

/**
 * Milliseconds that the proxy holds the data of the server, longer than a client takes to send what does not depend on it. Otherwise the
 * result of a statement could arrive between two statements of one round trip.
 */
const holdMs = 15;

/** Starts a proxy on a free port of 127.0.0.1. @param url URL of the server */
export async function countRoundTrips(url: string): Promise<RoundTripCounter> {
  const proxied = new URL(url);
  const { port, hostname } = proxied;
  const sockets: Socket[] = [];
  let count = 0;
  const proxy = createServer((client) => {
    const server = connect(Number(port), hostname);
    sockets.push(client, server);
    let hasReceived = true;
    client.on('data', (chunk) => {
      if (hasReceived) count += 1;
      hasReceived = false;
      server.write(chunk);
    });
    server.on('data', (chunk) =>
      setTimeout(() => {
        hasReceived = true;
        client.write(chunk);
      }, holdMs),
    );
    for (const socket of [client, server]) socket.on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  proxied.port = String((proxy.address() as AddressInfo).port);
  return {
    url: proxied.href,
    get count() {
      return count;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
}
