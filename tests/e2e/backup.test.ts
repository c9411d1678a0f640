import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { type HttpRequest, sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { root } from '../../scripts/lib/services.ts';
import { readInstallation } from './lib/installation.ts';

const run = promisify(execFile);
const { namespace, release } = readInstallation();

describe('backup and restore with the commands of docs/kubernetes.md', () => {
  let backup: string;
  let restore: string;

  before(async () => {
    const text = await readFile(join(root, 'docs/kubernetes.md'), 'utf8');
    const section = text.split('\n## ').find((part) => part.startsWith('Backup and restore\n')) ?? '';
    const blocks = [...section.matchAll(/```bash\n([\s\S]*?)```/g)].map(([, block = '']) =>
      block.replaceAll('--namespace zerda ', `--namespace ${namespace} `),
    );
    [backup = '', restore = ''] = blocks;
    assert.match(backup, /pg_dump/);
    assert.match(restore, /pg_restore/);
  });

  it('restores the rows of the backup and removes later ones', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-backup-'));
    const forward = await forwardPort(namespace, `${release}-gateway`, { local: 0, remote: 8000 });
    t.after(async () => {
      await forward.stop();
      await rm(folder, { recursive: true, force: true });
    });
    const shell = (commands: string) => run('bash', ['-euc', commands], { cwd: folder });
    const api = (path: string, options?: HttpRequest) => sendRequest(`${forward.url}/api/${path}`, options);
    const create = async (name: string) => {
      const email = `${name.toLowerCase()}-${Date.now()}@example.com`;
      const { status, body, text } = await api('users', { method: 'POST', json: { name, email } });
      assert.equal(status, 201, text);
      return body.data.id as number;
    };
    const place = async (user_id: number) => {
      const order = { user_id, product: 'Kept', quantity: 1, total: 5 };
      const { status, body, text } = await api('orders', { method: 'POST', json: order });
      assert.equal(status, 201, text);
      return body.data.id as number;
    };
    /** Returns the data of an aggregate. Asserts that it is not degraded. */
    const getComplete = async (path: string) => {
      const { status, body, text } = await api(path);
      assert.equal(status, 200, text);
      assert.equal(body.data.degraded, undefined, text);
      return body.data;
    };

    const userId = await create('Kept');
    const order = await place(userId);
    const dashboard = await getComplete('dashboard');
    await shell(backup);
    const laterUserId = await create('Later');
    await api(`users/${userId}`, { method: 'PUT', json: { name: 'Changed' } });
    await place(laterUserId);

    await shell(restore);
    // The gateway resolves the addresses of the new pods without a restart.
    const profile = await eventually(
      () => getComplete(`users/${userId}/profile`),
      'a complete profile',
      60_000,
    );
    assert.equal(profile.user.name, 'Kept');
    assert.deepEqual(
      profile.orders.map(({ id }: { id: number }) => id),
      [order],
    );
    assert.equal((await api(`users/${laterUserId}`)).status, 404);
    assert.deepEqual(await getComplete('dashboard'), dashboard);
  });
});
