import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { startClients } from '../clients/clients.ts';
import { describeFailures, formatFault } from '../clients/fault-table.ts';
import { eventually } from '../system/lib/eventually.ts';
import { type Answer, type Call, call } from '../system/lib/http.ts';
import { secretValue } from './lib/databases.ts';
import { readInstallation } from './lib/installation.ts';
import { get, kubectl } from './lib/kubectl.ts';
import { installRelease, type OwnRelease } from './lib/own-release.ts';
import { complete, podsOf } from './lib/rollouts.ts';

const run = promisify(execFile);
const installation = readInstallation();
const hostName = `identity.${installation.namespace}.e2e.example`;
const admin = 'admin@example.com';

/** Requests a second: they are those of one caller, who has limits. */
const perSecond = Math.min(installation.faults.perSecond, 40);

type Api = (path: string, options?: Call & { readonly token?: string }) => Promise<Answer>;

describe('an installation that asks who is there', () => {
  let own: OwnRelease;
  let password: string;

  before(async () => {
    own = await installRelease({
      ...{ namespace: `${installation.namespace}-identity`, release: 'zerda' },
      // As the chart is by default, but for where it counts requests.
      options: [
        ...installation.images,
        ...['--set', 'global.valkey.type=bundled', '--set', `gateway.ingress.hosts={${hostName}}`],
      ],
    });
    password = await secretValue(own.namespace, 'zerda-auth', 'admin-password');
  });
  after(() => own?.remove());

  it('tells its first admin how to log in, and passes helm test', async () => {
    const { stdout: notes } = await run('helm', ['get', 'notes', own.release, '--namespace', own.namespace]);
    const command = notes.split('\n').find((line) => line.includes('get secret')) ?? '';
    const { stdout } = await run('sh', ['-c', `${command}; printf %s "$PASSWORD"`]);
    assert.equal(stdout, password);
    const test = await run('helm', ['test', own.release, '--namespace', own.namespace, '--logs']);
    assert.match(test.stdout, /POST \/api\/auth\/login: 200/);
    assert.match(test.stdout, /GET \/api\/users\/\d+\/profile: 200/);
  });

  it('shows each what is theirs, and strangers nothing', async () => {
    await calling(async (api) => {
      assert.equal((await api('/api/users')).status, 401);
      assert.equal((await api('/api/dashboard')).status, 401);
      assert.equal((await login(api, admin, 'wrong password')).status, 401);
      const boss = (await login(api, admin, password)).body.data.access_token;
      assert.equal((await api('/api/dashboard', { token: boss })).status, 200);

      const credentials = { email: 'mia@example.com', password: 'a long walk in the rain' };
      const made = await api('/api/users', {
        ...{ method: 'POST', token: boss },
        json: { name: 'Mia', ...credentials },
      });
      assert.equal(made.status, 201, made.text);
      const { id } = made.body.data;
      const mia = (await login(api, credentials.email, credentials.password)).body.data.access_token;
      const order = await api('/api/orders', {
        ...{ method: 'POST', token: mia },
        json: { user_id: id, product: 'Umbrella', quantity: 1, total: 12 },
      });
      assert.equal(order.status, 201, order.text);
      const profile = await api(`/api/users/${id}/profile`, { token: mia });
      assert.deepEqual(
        [profile.status, profile.body.data.orders.length, profile.body.degraded],
        [200, 1, undefined],
      );
      assert.equal((await api('/api/dashboard', { token: mia })).status, 403);
      const { body } = await api('/api/users', { token: mia });
      assert.deepEqual(
        body.data.map((user: { id: number }) => user.id),
        [id],
      );
    });
  });

  it('refuses no token while its keys are replaced, and no request when Valkey is killed', async () => {
    const token = await calling(async (api) => (await login(api, admin, password)).body.data.access_token);
    const clients = startClients({ address: installation.faults.ingress, hostName, perSecond, token });
    try {
      await eventually(async () => {
        const idle = clients.open('warming up');
        await wait(3000);
        assert.equal((await idle.close(0)).failed.length, 0);
      }, 60_000);
      const replaced = clients.open('the keys of access tokens are replaced');
      await rotateKeys();
      await nothingFailed(await replaced.close(300));

      const killed = clients.open('deletion of the pod of Valkey with --force --grace-period=0');
      const [valkey = ''] = await valkeyPods();
      const args = ['--namespace', own.namespace, '--force', '--grace-period=0'];
      await kubectl(['delete', 'pod', valkey, ...args]);
      await complete(own.namespace, `${own.release}-valkey`, valkey);
      await nothingFailed(await killed.close());
    } finally {
      await clients.stop();
    }
    const [gateway = ''] = await podsOf(own.namespace, own.release, 'gateway');
    const log = await kubectl(['logs', '--namespace', own.namespace, gateway]);
    assert.match(log, /[Vv]alkey/, 'the gateway has noticed');
  });

  async function nothingFailed(seen: Parameters<typeof formatFault>[0]): Promise<void> {
    console.log(formatFault(seen));
    assert.equal(seen.failed.length, 0, describeFailures(seen));
  }

  async function rotateKeys(): Promise<void> {
    const [pod = ''] = await podsOf(own.namespace, own.release, 'user-service');
    const keys = async (...words: string[]) =>
      kubectl([
        ...['exec', '--namespace', own.namespace, pod, '--'],
        ...['/nodejs/bin/node', 'bin/main.mjs', 'keys', ...words],
      ]);
    const before = (await keys('list')).trim().split('\n').length;
    assert.equal((await keys('rotate')).trim().split('\n').length, before + 1);
  }

  async function valkeyPods(): Promise<string[]> {
    const { items } = await get(own.namespace, 'pods', '--selector', 'app.kubernetes.io/name=valkey');
    return items.map(({ metadata }: { metadata: { name: string } }) => metadata.name);
  }

  async function calling<T>(work: (api: Api) => Promise<T>): Promise<T> {
    const forward = await forwardPort(own.namespace, 'zerda-gateway', { local: 0, remote: 8000 });
    try {
      return await work((path, { token, ...options } = {}) =>
        call(forward.url + path, {
          ...options,
          ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }),
        }),
      );
    } finally {
      await forward.stop();
    }
  }

  function login(api: Api, email: string, secret: string): Promise<Answer> {
    return api('/api/auth/login', { method: 'POST', json: { email, password: secret } });
  }
});
