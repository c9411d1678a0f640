import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** Returns distinct free TCP ports of 127.0.0.1. Another process may bind one before the caller does. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

/** Returns one free TCP port. */
export async function freePort(): Promise<number> {
  return (await freePorts(1))[0] as number;
}
