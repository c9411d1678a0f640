import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import type { PlannedPort } from './services.ts';

/**
 * Checks that every port can be listened on, without keeping any.
 * @throws StartupError with one line that names each service and port in the way and how to move it.
 */
export async function requireFreePorts(host: string, ports: readonly PlannedPort[]): Promise<void> {
  const twice = ports.find((one, index) => ports.findIndex(({ port }) => port === one.port) !== index);
  if (twice) {
    throw new StartupError(
      `${twice.service} cannot have port ${twice.port}: another service is set to it. Set ${twice.variable} to another port.`,
    );
  }
  const refused = await Promise.all(
    ports.map(async (one) => ({ ...one, code: await refusal(host, one.port) })),
  );
  const inTheWay = refused.filter(({ code }) => code !== undefined);
  if (inTheWay.length === 0) return;
  const list = inTheWay.map(
    ({ service, port, variable, code }) => `${service} ${port} (${variable}: ${code})`,
  );
  throw new StartupError(
    `Cannot listen on ${host} for ${list.join(', ')}. ` +
      'Stop the process that has the port (an earlier npm start?), or set the variable to a free port.',
  );
}

/** Why a port cannot be had, in words; undefined when it can. */
async function refusal(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, 'listening');
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EADDRINUSE' ? 'in use' : (code ?? 'refused');
  } finally {
    server.close();
  }
}

/** Ports that were free a moment ago, all different. Another process may take one before it is used. */
export async function freePorts(count: number, host = '127.0.0.1'): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, host);
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
