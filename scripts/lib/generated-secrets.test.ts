import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { secretsFile, withGeneratedSecrets } from './generated-secrets.ts';
import { planSystem } from './services.ts';

const posix = { skip: process.platform === 'win32' && 'modes of files say nothing there' };

describe('generated secrets', () => {
  let parent: string;
  let ZERDA_DATA_DIR: string;

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'zerda-secrets-'));
    ZERDA_DATA_DIR = join(parent, 'data');
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));

  it('are created once, also by two concurrent runs, and are readable by the current user only', async () => {
    const concurrent = await Promise.all([
      withGeneratedSecrets({ ZERDA_DATA_DIR }),
      withGeneratedSecrets({ ZERDA_DATA_DIR }),
    ]);
    const again = await withGeneratedSecrets({ ZERDA_DATA_DIR });
    assert.match(again.AUTH_KEY_SECRET ?? '', /^[0-9a-f]{64}$/);
    assert.deepEqual(concurrent, [again, again]);
    const file = secretsFile(ZERDA_DATA_DIR);
    if (process.platform !== 'win32') assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.ok((await readFile(file, 'utf8')).includes(again.AUTH_KEY_SECRET ?? ''));
  });

  it('remove access of other users to the file and the folder, with any umask', posix, async () => {
    const modes = async () => [
      ((await stat(ZERDA_DATA_DIR)).mode & 0o777).toString(8),
      ((await stat(secretsFile(ZERDA_DATA_DIR))).mode & 0o777).toString(8),
    ];
    const umask = process.umask(0);
    try {
      const generated = await withGeneratedSecrets({ ZERDA_DATA_DIR });
      assert.deepEqual(await modes(), ['700', '600']);
      await chmod(ZERDA_DATA_DIR, 0o755);
      await chmod(secretsFile(ZERDA_DATA_DIR), 0o644);
      assert.deepEqual(await withGeneratedSecrets({ ZERDA_DATA_DIR }), generated);
      assert.deepEqual(await modes(), ['700', '600']);
    } finally {
      process.umask(umask);
    }
  });

  it('are not read through a link to a file that other users can read', posix, async () => {
    const elsewhere = join(parent, 'elsewhere.json');
    await writeFile(elsewhere, '{}', { mode: 0o644 });
    await mkdir(ZERDA_DATA_DIR);
    await symlink(elsewhere, secretsFile(ZERDA_DATA_DIR));
    await assert.rejects(withGeneratedSecrets({ ZERDA_DATA_DIR }), { name: 'StartupError', exitCode: 78 });
    assert.equal((await stat(elsewhere)).mode & 0o777, 0o644);
  });

  it('are overridden by variables of the environment', async () => {
    const environment = await withGeneratedSecrets({
      ZERDA_DATA_DIR,
      AUTH_KEY_SECRET: 'given',
      EVENT_SECRET: '',
    });
    assert.equal(environment.AUTH_KEY_SECRET, 'given');
    assert.match(environment.EVENT_SECRET ?? '', /^[0-9a-f]{64}$/);
  });

  it('configure the admin of the demo data only when authentication is required', async () => {
    const off = await withGeneratedSecrets({ ZERDA_DATA_DIR });
    assert.deepEqual([off.AUTH_ADMIN_EMAIL, off.AUTH_ADMIN_PASSWORD], [undefined, '']);
    const required = await withGeneratedSecrets({ ZERDA_DATA_DIR, AUTH: 'required' });
    assert.equal(required.AUTH_ADMIN_EMAIL, 'alice@example.com');
    assert.match(required.AUTH_ADMIN_PASSWORD ?? '', /^[\w-]{16}$/);
  });

  it('are passed only to the services that need them', async () => {
    const { services } = planSystem(await withGeneratedSecrets({ ZERDA_DATA_DIR, AUTH: 'required' }));
    const [users, orders, gateway] = ['user-service', 'order-service', 'gateway'].map((name) =>
      services.find((service) => service.name === name),
    );
    assert.ok(users?.env.AUTH_KEY_SECRET && users.env.AUTH_ADMIN_PASSWORD && users.env.EVENT_SECRET);
    for (const env of [orders?.env, gateway?.env]) {
      assert.equal(env?.AUTH_KEY_SECRET, undefined);
      assert.equal(env?.AUTH_ADMIN_PASSWORD, undefined);
      assert.equal(env?.AUTH, 'required');
    }
    assert.equal(gateway?.env.EVENT_SECRET, undefined);
  });

  it('are not replaced when the file is invalid, because encrypted data would be lost', async () => {
    await withGeneratedSecrets({ ZERDA_DATA_DIR });
    await writeFile(secretsFile(ZERDA_DATA_DIR), '{');
    await assert.rejects(withGeneratedSecrets({ ZERDA_DATA_DIR }), {
      name: 'StartupError',
      message: /npm run reset/,
    });
  });
});
