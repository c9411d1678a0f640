import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, before, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { type HttpRequest, type HttpResponse, sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { secretValue } from './lib/databases.ts';
import { readInstallation } from './lib/installation.ts';
import { get, kubectl } from './lib/kubectl.ts';
import { podsOf, waitUntilDeleted } from './lib/rollouts.ts';
import { installRelease, type TestRelease } from './lib/test-release.ts';

const installation = readInstallation();
const hostName = `keys.${installation.namespace}.e2e.example`;
const release = 'zerda';
const database = `${release}-user-service-postgresql`;

let testRelease: TestRelease;
let password: string;
const agent = new Agent({ keepAlive: true });

before(async () => {
  testRelease = await installRelease({
    namespace: `${installation.namespace}-keys`,
    release,
    options: [...installation.images, ...['--set', `gateway.ingress.hosts={${hostName}}`]],
  });
  password = await secretValue(testRelease.namespace, `${release}-auth`, 'admin-password');
});
after(async () => {
  agent.destroy();
  await testRelease?.remove();
});

it('requests for orders succeed while the user database is unavailable and a pod of each service is replaced', async () => {
  const json = { email: 'admin@example.com', password };
  const login = await eventually(
    async () => {
      const response = await send('/api/auth/login', { method: 'POST', json });
      assert.equal(response.status, 200, response.text);
      return response;
    },
    'a login of the admin',
    60_000,
  );
  const token = login.body.data.access_token;
  const getOrders = () => send('/api/orders', { token });

  await scaleDatabase(0);
  const load = { requests: 0, failed: [] as string[], running: true };
  const replaced: string[] = [];
  const loadEnded = (async () => {
    while (load.running) {
      const { status, text } = await getOrders().catch((error: Error) => ({
        status: 0,
        text: String(error),
      }));
      load.requests += 1;
      if (status !== 200) load.failed.push(`${status} ${text}`);
      await wait(25);
    }
  })();
  try {
    for (const service of ['user-service', 'order-service', 'gateway', 'gateway']) {
      const [oldest = ''] = await podsOf(testRelease.namespace, release, service);
      await kubectl(['delete', 'pod', oldest, '--namespace', testRelease.namespace, '--wait=false']);
      replaced.push(oldest);
      // A new pod of user-service waits for its database.
      if (service === 'user-service') continue;
      const deployment = `deployment/${release}-${service}`;
      await kubectl([
        'rollout',
        'status',
        deployment,
        '--namespace',
        testRelease.namespace,
        '--timeout=120s',
      ]);
    }
    await waitUntilDeleted(testRelease.namespace, replaced);
    const served = load.requests;
    await eventually(() => assert.ok(load.requests > served + 50));
  } finally {
    load.running = false;
    await loadEnded;
    await scaleDatabase(1);
  }
  console.log(`${load.requests} requests for orders, ${load.failed.length} failed`);
  assert.deepEqual(load.failed.slice(0, 5), []);
  assert.ok(load.requests > 100);
});

async function scaleDatabase(replicas: number): Promise<void> {
  const target = ['statefulset', database, '--namespace', testRelease.namespace];
  await kubectl(['scale', ...target, `--replicas=${replicas}`]);
  await eventually(
    async () => {
      const { status } = await get(testRelease.namespace, 'statefulset', database);
      assert.equal(status.readyReplicas ?? 0, replicas);
      assert.equal(status.replicas ?? 0, replicas);
    },
    'the replicas of the database',
    90_000,
  );
}

function send(path: string, options: HttpRequest): Promise<HttpResponse> {
  const headers = { ...options.headers, host: hostName };
  return sendRequest(`http://${installation.ingress}${path}`, {
    ...options,
    headers,
    agent,
    timeoutMs: 15_000,
  });
}
