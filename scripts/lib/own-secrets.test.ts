import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { secretsFile, withOwnSecrets } from './own-secrets.ts';
import { planSystem } from './services.ts';

const posix = { skip: process.platform === 'win32' && 'modes of files say nothing there' };

describe('secrets of a system on this machine', () => {
  let parent: string;
  let ZERDA_DATA_DIR: string;

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'zerda-secrets-'));
    ZERDA_DATA_DIR = join(parent, 'data');
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));

  it('are made at the first run, also by two at once, and are the same from then on, for this user alone', async () => {
    const [one, two] = await Promise.all([
      withOwnSecrets({ ZERDA_DATA_DIR }),
      withOwnSecrets({ ZERDA_DATA_DIR }),
    ]);
    const again = await withOwnSecrets({ ZERDA_DATA_DIR });
    assert.match(again.AUTH_KEY_SECRET ?? '', /^[0-9a-f]{64}$/);
    assert.deepEqual([one, two], [again, again]);
    const file = secretsFile(ZERDA_DATA_DIR);
    if (process.platform !== 'win32') assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.ok((await readFile(file, 'utf8')).includes(again.AUTH_KEY_SECRET ?? ''));
  });

  it(
    'lose what rights other users had to their file and to the folder, whatever the umask',
    posix,
    async () => {
      const modes = async () => [
        ((await stat(ZERDA_DATA_DIR)).mode & 0o777).toString(8),
        ((await stat(secretsFile(ZERDA_DATA_DIR))).mode & 0o777).toString(8),
      ];
      const umask = process.umask(0);
      try {
        const made = await withOwnSecrets({ ZERDA_DATA_DIR });
        assert.deepEqual(await modes(), ['700', '600']);
        await chmod(ZERDA_DATA_DIR, 0o755);
        await chmod(secretsFile(ZERDA_DATA_DIR), 0o644);
        assert.deepEqual(await withOwnSecrets({ ZERDA_DATA_DIR }), made);
        assert.deepEqual(await modes(), ['700', '600']);
      } finally {
        process.umask(umask);
      }
    },
  );

  it('are not read from a file that other users can read and that is elsewhere', posix, async () => {
    const elsewhere = join(parent, 'elsewhere.json');
    await writeFile(elsewhere, '{}', { mode: 0o644 });
    await mkdir(ZERDA_DATA_DIR);
    await symlink(elsewhere, secretsFile(ZERDA_DATA_DIR));
    await assert.rejects(withOwnSecrets({ ZERDA_DATA_DIR }), { name: 'StartupError', exitCode: 78 });
    assert.equal((await stat(elsewhere)).mode & 0o777, 0o644);
  });

  it('are those of the environment where it has some', async () => {
    const given = await withOwnSecrets({ ZERDA_DATA_DIR, AUTH_KEY_SECRET: 'given', EVENT_SECRET: '' });
    assert.equal(given.AUTH_KEY_SECRET, 'given');
    assert.match(given.EVENT_SECRET ?? '', /^[0-9a-f]{64}$/);
  });

  it('let the admin of the demo data log in where tokens are required, and make nobody where they are not', async () => {
    const off = await withOwnSecrets({ ZERDA_DATA_DIR });
    assert.deepEqual([off.AUTH_ADMIN_EMAIL, off.AUTH_ADMIN_PASSWORD], [undefined, '']);
    const required = await withOwnSecrets({ ZERDA_DATA_DIR, AUTH: 'required' });
    assert.equal(required.AUTH_ADMIN_EMAIL, 'alice@example.com');
    assert.match(required.AUTH_ADMIN_PASSWORD ?? '', /^[\w-]{16}$/);
  });

  it('are known to the services that need them', async () => {
    const [users, orders, gateway] = planSystem(
      await withOwnSecrets({ ZERDA_DATA_DIR, AUTH: 'required' }),
    ).services;
    assert.ok(users?.env.AUTH_KEY_SECRET && users.env.AUTH_ADMIN_PASSWORD && users.env.EVENT_SECRET);
    for (const env of [orders?.env, gateway?.env]) {
      assert.equal(env?.AUTH_KEY_SECRET, undefined);
      assert.equal(env?.AUTH_ADMIN_PASSWORD, undefined);
      assert.equal(env?.AUTH, 'required');
    }
    assert.equal(gateway?.env.EVENT_SECRET, undefined);
  });

  it('that cannot be read are not replaced, for what they encrypt would be lost', async () => {
    await withOwnSecrets({ ZERDA_DATA_DIR });
    await writeFile(secretsFile(ZERDA_DATA_DIR), '{');
    await assert.rejects(withOwnSecrets({ ZERDA_DATA_DIR }), {
      name: 'StartupError',
      message: /npm run reset/,
    });
  });
});
