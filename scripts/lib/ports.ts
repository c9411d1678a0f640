import { once } from 'node:events';
import { createServer } from 'node:net';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import type { PlannedPort } from './services.ts';

/**
 * Checks that all ports are free.
 * @throws StartupError with one line that names each unavailable port, its service and its variable
 */
export async function requireFreePorts(host: string, ports: readonly PlannedPort[]): Promise<void> {
  const duplicate = ports.find(
    (entry, index) => ports.findIndex(({ port }) => port === entry.port) !== index,
  );
  if (duplicate) {
    throw new StartupError(
      `${duplicate.service} cannot use port ${duplicate.port}, because another service uses it. Set ${duplicate.variable} to another port.`,
    );
  }
  const checked = await Promise.all(
    ports.map(async (entry) => ({ ...entry, code: await findPortError(host, entry.port) })),
  );
  const unavailable = checked.filter(({ code }) => code !== undefined);
  if (unavailable.length === 0) return;
  const list = unavailable.map(
    ({ service, port, variable, code }) => `${service} ${port} (${variable}: ${code})`,
  );
  throw new StartupError(
    `Cannot listen on ${host} for ${list.join(', ')}. ` +
      'Stop the process that uses the port (such as an earlier npm start), or set the variable to a free port.',
  );
}

/** Returns why a port is not available; undefined if it is. */
async function findPortError(host: string, port: number): Promise<string | undefined> {
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
