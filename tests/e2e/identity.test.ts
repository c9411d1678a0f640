import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type HttpRequest, type HttpResponse, sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { startClients } from '../clients/clients.ts';
import { describeFailures, formatFault } from '../clients/fault-table.ts';
import { secretValue } from './lib/databases.ts';
import { readInstallation } from './lib/installation.ts';
import { get, kubectl } from './lib/kubectl.ts';
import { podsOf, waitUntilReady } from './lib/rollouts.ts';
import { installRelease, type TestRelease } from './lib/test-release.ts';

const run = promisify(execFile);
const installation = readInstallation();
const hostName = `identity.${installation.namespace}.e2e.example`;
const admin = 'admin@example.com';

/** Requests a second. All are from one caller, who has a rate limit. */
const perSecond = Math.min(installation.faults.perSecond, 40);

type Api = (path: string, options?: HttpRequest) => Promise<HttpResponse>;

describe('an installation with authentication', () => {
  let testRelease: TestRelease;
  let password: string;

  before(async () => {
    testRelease = await installRelease({
      namespace: `${installation.namespace}-identity`,
      release: 'zerda',
      // Default values except for the store of rate limits.
      options: [
        ...installation.images,
        ...['--set', 'global.valkey.type=bundled', '--set', `gateway.ingress.hosts={${hostName}}`],
      ],
    });
    password = await secretValue(testRelease.namespace, 'zerda-auth', 'admin-password');
  });
  after(() => testRelease?.remove());

  it('prints a working login command for the first admin, and passes helm test', async () => {
    const { stdout: notes } = await run('helm', [
      'get',
      'notes',
      testRelease.release,
      '--namespace',
      testRelease.namespace,
    ]);
    const command = notes.split('\n').find((line) => line.includes('get secret')) ?? '';
    const { stdout } = await run('sh', ['-c', `${command}; printf %s "$PASSWORD"`]);
    assert.equal(stdout, password);
    const test = await run('helm', [
      'test',
      testRelease.release,
      '--namespace',
      testRelease.namespace,
      '--logs',
    ]);
    assert.match(test.stdout, /POST \/api\/auth\/login: 200/);
    assert.match(test.stdout, /GET \/api\/users\/\d+\/profile: 200/);
  });

  it('returns only their own data to users, and 401 without a token', async () => {
    await withApi(async (api) => {
      assert.equal((await api('/api/users')).status, 401);
      assert.equal((await api('/api/dashboard')).status, 401);
      assert.equal((await login(api, admin, 'wrong password')).status, 401);
      const adminToken = (await login(api, admin, password)).body.data.access_token;
      assert.equal((await api('/api/dashboard', { token: adminToken })).status, 200);

      const credentials = { email: 'mia@example.com', password: 'a long walk in the rain' };
      const created = await api('/api/users', {
        method: 'POST',
        token: adminToken,
        json: { name: 'Mia', ...credentials },
      });
      assert.equal(created.status, 201, created.text);
      const { id } = created.body.data;
      const userToken = (await login(api, credentials.email, credentials.password)).body.data.access_token;
      const order = await api('/api/orders', {
        method: 'POST',
        token: userToken,
        json: { user_id: id, product: 'Umbrella', quantity: 1, total: 12 },
      });
      assert.equal(order.status, 201, order.text);
      const profile = await api(`/api/users/${id}/profile`, { token: userToken });
      assert.deepEqual(
        [profile.status, profile.body.data.orders.length, profile.body.degraded],
        [200, 1, undefined],
      );
      assert.equal((await api('/api/dashboard', { token: userToken })).status, 403);
      const { body } = await api('/api/users', { token: userToken });
      assert.deepEqual(
        body.data.map((user: { id: number }) => user.id),
        [id],
      );
    });
  });

  it('fails no request while signing keys are rotated or Valkey is killed', async () => {
    const token = await withApi(async (api) => (await login(api, admin, password)).body.data.access_token);
    const clients = startClients({ address: installation.faults.ingress, hostName, perSecond, token });
    try {
      await eventually(
        async () => {
          const idle = clients.open('warming up');
          await wait(3000);
          assert.equal((await idle.close(0)).failed.length, 0);
        },
        'a window without failed requests',
        60_000,
      );
      const rotation = clients.open('rotation of the signing keys');
      await rotateKeys();
      await expectNoFailure(await rotation.close(300));

      const kill = clients.open('deletion of the Valkey pod with --force --grace-period=0');
      const [valkey = ''] = await valkeyPods();
      const args = ['--namespace', testRelease.namespace, '--force', '--grace-period=0'];
      await kubectl(['delete', 'pod', valkey, ...args]);
      await waitUntilReady(testRelease.namespace, `${testRelease.release}-valkey`, valkey);
      await expectNoFailure(await kill.close());
    } finally {
      await clients.stop();
    }
    const [gateway = ''] = await podsOf(testRelease.namespace, testRelease.release, 'gateway');
    const log = await kubectl(['logs', '--namespace', testRelease.namespace, gateway]);
    assert.match(log, /[Vv]alkey/, 'the gateway has logged it');
  });

  async function expectNoFailure(window: Parameters<typeof formatFault>[0]): Promise<void> {
    console.log(formatFault(window));
    assert.equal(window.failed.length, 0, describeFailures(window));
  }

  async function rotateKeys(): Promise<void> {
    const [pod = ''] = await podsOf(testRelease.namespace, testRelease.release, 'user-service');
    const keys = async (...args: string[]) =>
      kubectl([
        ...['exec', '--namespace', testRelease.namespace, pod, '--'],
        ...['/nodejs/bin/node', 'bin/main.mjs', 'keys', ...args],
      ]);
    const before = (await keys('list')).trim().split('\n').length;
    assert.equal((await keys('rotate')).trim().split('\n').length, before + 1);
  }

  async function valkeyPods(): Promise<string[]> {
    const { items } = await get(testRelease.namespace, 'pods', '--selector', 'app.kubernetes.io/name=valkey');
    return items.map(({ metadata }: { metadata: { name: string } }) => metadata.name);
  }

  async function withApi<T>(work: (api: Api) => Promise<T>): Promise<T> {
    const forward = await forwardPort(testRelease.namespace, 'zerda-gateway', { local: 0, remote: 8000 });
    try {
      return await work((path, { token, ...options } = {}) =>
        sendRequest(forward.url + path, {
          ...options,
          ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }),
        }),
      );
    } finally {
      await forward.stop();
    }
  }

  function login(api: Api, email: string, secret: string): Promise<HttpResponse> {
    return api('/api/auth/login', { method: 'POST', json: { email, password: secret } });
  }
});
