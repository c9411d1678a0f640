import { join } from 'node:path';
import { freePort } from '../../packages/chassis/testing/port.ts';
import { installLocked } from '../../scripts/lib/locked-packages.ts';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { competitorsFolder } from './competitors.ts';
import type { RunningProxy } from './proxies.ts';

/**
 * Starts the service with the least code for the work of user-service and order-service.
 * @throws Error with its output if it does not become ready
 */
export async function startMinimalService(databaseUrl: string): Promise<RunningProxy> {
  await installLocked(competitorsFolder, 'the Node.js programs');
  const port = await freePort();
  const service = startProcess(
    {
      name: 'Express + pg',
      file: join(competitorsFolder, 'minimal-service.mjs'),
      env: { ...process.env, NODE_ENV: 'production', PORT: String(port), DATABASE_URL: databaseUrl },
      readyUrl: `http://127.0.0.1:${port}/ready`,
    },
    () => undefined,
  );
  await service.ready(10_000).catch(async (error) => {
    await service.stop();
    throw new Error(`${error.message}: ${service.lastLines.join(' ')}`);
  });
  return { name: service.name, version: '', port, pid: service.pid ?? 0, stop: service.stop };
}
