import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { freePort } from '../../../packages/chassis/testing/port.ts';
import { startReplica } from './replica.ts';

describe('a replica that does not become ready', () => {
  async function startFailing(source: string) {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-replica-'));
    const file = join(folder, 'service.mjs');
    await writeFile(file, source);
    const readyUrl = `http://127.0.0.1:${await freePort()}/readyz`;
    const replica = startReplica({ name: 'a service', file, env: { PATH: process.env.PATH }, readyUrl });
    return {
      replica,
      end: async (): Promise<void> => {
        await replica.stop();
        await rm(folder, { recursive: true, force: true });
      },
    };
  }

  it('rejects at the deadline with its last log lines', async () => {
    const { replica, end } = await startFailing("console.log('no database'); process.exitCode = 1;");
    await assert.rejects(replica.ready(700), /a service .*\n {2}no database/s);
    await end();
  });

  it('rejects when it is stopped', async () => {
    const { replica, end } = await startFailing('setInterval(() => {}, 1000);');
    const waiting = assert.rejects(replica.ready(), { message: 'a service was stopped before it was ready' });
    await end();
    await waiting;
  });
});
