import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { acquireDataFolder } from '../../packages/chassis/src/database/data-folder.ts';
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

  /** A folder as a service that has run leaves it. */
  async function leaveData(service: string): Promise<string> {
    const folder = join(dataDir, service);
    const { path, release } = await acquireDataFolder(folder);
    await mkdir(path);
    await writeFile(join(path, 'PG_VERSION'), '18\n');
    await release();
    return folder;
  }

  it('removes the data of every service, and the folder above when nothing else is in it', async () => {
    const folders = [await leaveData('user-service'), await leaveData('order-service')];
    assert.deepEqual(await removeData(dataDir), folders);
    assert.deepEqual(await readdir(parent), []);
  });

  it('leaves everything else that is in the folder', async () => {
    const folder = await leaveData('user-service');
    await mkdir(join(dataDir, 'gateway'));
    await writeFile(join(dataDir, 'thesis.txt'), 'precious');
    assert.deepEqual(await removeData(dataDir), [folder]);
    assert.deepEqual((await readdir(dataDir)).sort(), ['gateway', 'thesis.txt']);
  });

  it('is content when there is nothing', async () => {
    assert.deepEqual(await removeData(dataDir), []);
  });

  it('removes nothing while a service runs, and names each that does in one line', async () => {
    const folders = [await leaveData('user-service'), await leaveData('order-service')];
    const orders = await acquireDataFolder(join(dataDir, 'order-service'));
    await assert.rejects(removeData(dataDir), {
      name: 'StartupError',
      exitCode: 1,
      message: `Stop order-service (process ${process.pid}) first; nothing was removed.`,
    });
    const users = await acquireDataFolder(join(dataDir, 'user-service'));
    await assert.rejects(
      removeData(dataDir),
      /^StartupError: Stop user-service \(process \d+\) and order-service/,
    );
    await Promise.all([orders.release(), users.release()]);
    for (const folder of folders) await stat(join(folder, 'files', 'PG_VERSION'));
  });

  it('removes nothing when one of the folders is not a data folder, and leaves the others usable', async () => {
    const folder = await leaveData('user-service');
    await mkdir(join(dataDir, 'order-service', 'src'), { recursive: true });
    await assert.rejects(removeData(dataDir), {
      name: 'StartupError',
      exitCode: 1,
      message: /order-service is not a data folder of a service: it has src in it/,
    });
    await stat(join(folder, 'files', 'PG_VERSION'));
    await (await acquireDataFolder(folder)).release();
  });

  it('says as a command what it removed, then that there is nothing more', async () => {
    const folder = await leaveData('user-service');
    assert.deepEqual(await reset(), { code: 0, stdout: `removed ${folder}\n`, stderr: '' });
    assert.deepEqual(await reset(), { code: 0, stdout: `nothing to remove in ${dataDir}\n`, stderr: '' });
  });

  it('says as a command in one line what is in the way, and ends with 1', async () => {
    const { release } = await acquireDataFolder(join(dataDir, 'user-service'));
    const { code, stdout, stderr } = await reset();
    assert.deepEqual([code, stdout], [1, '']);
    assert.equal(stderr, `Stop user-service (process ${process.pid}) first; nothing was removed.\n`);
    await release();
  });

  function reset(): Promise<{ code: unknown; stdout: string; stderr: string }> {
    const env = { ...process.env, ZERDA_DATA_DIR: dataDir };
    return new Promise((resolve) => {
      execFile(
        process.execPath,
        ['--import', 'tsx', 'scripts/reset.ts'],
        { cwd: root, env },
        (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }),
      );
    });
  }
});
