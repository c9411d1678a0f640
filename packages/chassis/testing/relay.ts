import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy in front of a server. It can stop forwarding without closing connections. */
export interface SilentRelay {
  /** URL of the server through the proxy. */
  readonly url: string;
  /**
   * Stops forwarding on the open connections, including their end, as after a power failure or a network partition. New connections
   * work.
   */
  silence(): void;
  close(): void;
}

/** Starts a proxy on a free port of 127.0.0.1. @param url URL of the server */
export async function startSilentRelay(url: string): Promise<SilentRelay> {
  let silenced = false;
  const proxy = await startTcpProxy(url, (client, server) => {
    const openedAfterSilence = silenced;
    client.on('data', (chunk) => silenced === openedAfterSilence && server.write(chunk));
    server.on('data', (chunk) => silenced === openedAfterSilence && client.write(chunk));
  });
  return {
    ...proxy,
    silence() {
      silenced = true;
    },
  };
}

/**
 * Starts a TCP proxy on a free port of 127.0.0.1.
 * @param url URL of the server
 * @param forward forwards the data of a connection in both directions
 */
export async function startTcpProxy(
  url: string,
  forward: (client: Socket, server: Socket) => void,
): Promise<Omit<SilentRelay, 'silence'>> {
  const proxied = new URL(url);
  const { port, hostname } = proxied;
  const sockets: Socket[] = [];
  const proxy = createServer((client) => {
    const server = connect(Number(port), hostname);
    sockets.push(client, server);
    forward(client, server);
    for (const socket of [client, server]) socket.on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  proxied.port = String((proxy.address() as AddressInfo).port);
  return {
    url: proxied.href,
    close() {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
}
