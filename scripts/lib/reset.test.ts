import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { acquireDataFolder } from '../../packages/chassis/src/database/data-folder.ts';
import { programArgs } from '../../packages/chassis/testing/program.ts';
import { removeData } from './reset.ts';
import { root } from './services.ts';

describe('npm run reset', () => {
  let parent: string;
  let dataDir: string;

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'zerda-reset-'));
    dataDir = join(parent, 'data');
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));

  /** Creates the data folder of a stopped service. */
  async function leaveData(service: string): Promise<string> {
    const folder = join(dataDir, service);
    const { openFiles, release } = await acquireDataFolder(folder);
    await openFiles(async (path) => {
      await mkdir(path);
      await writeFile(join(path, 'PG_VERSION'), '18\n');
    });
    await release();
    return folder;
  }

  it('removes the data of every service, and the parent folder if it is empty', async () => {
    const folders = [await leaveData('user-service'), await leaveData('order-service')];
    assert.deepEqual(await removeData(dataDir), folders);
    assert.deepEqual(await readdir(parent), []);
  });

  it('keeps other files in the folder', async () => {
    const folder = await leaveData('user-service');
    await mkdir(join(dataDir, 'gateway'));
    await writeFile(join(dataDir, 'thesis.txt'), 'precious');
    assert.deepEqual(await removeData(dataDir), [folder]);
    assert.deepEqual((await readdir(dataDir)).sort(), ['gateway', 'thesis.txt']);
  });

  it('succeeds when there is nothing to remove', async () => {
    assert.deepEqual(await removeData(dataDir), []);
  });

  it('removes nothing while services run and names them in one line', async () => {
    const folders = [await leaveData('user-service'), await leaveData('order-service')];
    const orders = await acquireDataFolder(join(dataDir, 'order-service'));
    await assert.rejects(removeData(dataDir), {
      name: 'StartupError',
      exitCode: 1,
      message: `Nothing was removed. Stop order-service (process ${process.pid}) first.`,
    });
    const users = await acquireDataFolder(join(dataDir, 'user-service'));
    await assert.rejects(
      removeData(dataDir),
      /^StartupError: Nothing was removed\. Stop user-service \(process \d+\) and order-service/,
    );
    await Promise.all([orders.release(), users.release()]);
    for (const folder of folders) await stat(join(folder, 'files', 'PG_VERSION'));
  });

  it('removes nothing when a folder is not a data folder, and keeps the others usable', async () => {
    const folder = await leaveData('user-service');
    await mkdir(join(dataDir, 'order-service', 'src'), { recursive: true });
    await assert.rejects(removeData(dataDir), {
      name: 'StartupError',
      exitCode: 1,
      message: /order-service is not a data folder of a service: it contains src/,
    });
    await stat(join(folder, 'files', 'PG_VERSION'));
    await (await acquireDataFolder(folder)).release();
  });

  it('prints the removed folders, and at the next run that there is nothing to remove', async () => {
    const folder = await leaveData('user-service');
    assert.deepEqual(await reset(), { code: 0, stdout: `removed ${folder}\n`, stderr: '' });
    assert.deepEqual(await reset(), { code: 0, stdout: `nothing to remove in ${dataDir}\n`, stderr: '' });
  });

  it('prints one line and exits with 1 when a service is running', async () => {
    const { release } = await acquireDataFolder(join(dataDir, 'user-service'));
    const { code, stdout, stderr } = await reset();
    assert.deepEqual([code, stdout], [1, '']);
    assert.equal(stderr, `Nothing was removed. Stop user-service (process ${process.pid}) first.\n`);
    await release();
  });

  function reset(): Promise<{ code: unknown; stdout: string; stderr: string }> {
    const env = { ...process.env, ZERDA_DATA_DIR: dataDir };
    return new Promise((resolve) => {
      execFile(
        process.execPath,
        programArgs(new URL('../reset.ts', import.meta.url)),
        { cwd: root, env },
        (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }),
      );
    });
  }
});
