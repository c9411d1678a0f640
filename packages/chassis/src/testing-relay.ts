import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A way to a server that can go silent. */
export interface SilentRelay {
  /** The URL of the server, by this way. */
  readonly url: string;
  /**
   * From now on nothing passes on the connections there are, not even an end: as after a machine that lost its power, or
   * a cut that nobody is told of. New ones work.
   */
  silence(): void;
  close(): void;
}

export async function startSilentRelay(url: string): Promise<SilentRelay> {
  const way = new URL(url);
  const { port, hostname } = way;
  const sockets: Socket[] = [];
  let mute = false;
  const relay = createServer((client) => {
    const server = connect(Number(port), hostname);
    const after = mute;
    sockets.push(client, server);
    client.on('data', (chunk) => mute === after && server.write(chunk));
    server.on('data', (chunk) => mute === after && client.write(chunk));
    for (const socket of [client, server]) socket.on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await once(relay, 'listening');
  way.port = String((relay.address() as AddressInfo).port);
  return {
    url: way.href,
    silence() {
      mute = true;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      relay.close();
    },
  };
}
