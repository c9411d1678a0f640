import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { after, before, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { eventually } from '../system/lib/eventually.ts';
import { secretValue } from './lib/databases.ts';
import { readInstallation } from './lib/installation.ts';
import { get, kubectl } from './lib/kubectl.ts';
import { installRelease, type OwnRelease } from './lib/own-release.ts';
import { gone, podsOf } from './lib/rollouts.ts';

const installation = readInstallation();
const hostName = `keys.${installation.namespace}.e2e.example`;
const release = 'zerda';
const database = `${release}-user-service-postgresql`;

let own: OwnRelease;
let password: string;
const agent = new Agent({ keepAlive: true });

before(async () => {
  own = await installRelease({
    ...{ namespace: `${installation.namespace}-keys`, release },
    options: [...installation.images, ...['--set', `gateway.ingress.hosts={${hostName}}`]],
  });
  password = await secretValue(own.namespace, `${release}-auth`, 'admin-password');
});
after(async () => {
  agent.destroy();
  await own?.remove();
});

it('no request for orders fails while the database of users is unavailable and a pod of each service is replaced', async () => {
  const json = JSON.stringify({ email: 'admin@example.com', password });
  const login = await eventually(async () => {
    const response = await send('POST', '/api/auth/login', { 'content-type': 'application/json' }, json);
    assert.equal(response.status, 200, response.text);
    return response;
  }, 60_000);
  const authorization = `Bearer ${JSON.parse(login.text).data.access_token}`;
  const ofOrders = () => send('GET', '/api/orders', { authorization });

  await scaleDatabase(0);
  const seen = { requests: 0, failed: [] as string[], running: true };
  const replaced: string[] = [];
  const load = (async () => {
    while (seen.running) {
      const { status, text } = await ofOrders().catch((error: Error) => ({ status: 0, text: String(error) }));
      seen.requests += 1;
      if (status !== 200) seen.failed.push(`${status} ${text}`);
      await wait(25);
    }
  })();
  try {
    for (const service of ['user-service', 'order-service', 'gateway', 'gateway']) {
      const [oldest = ''] = await podsOf(own.namespace, release, service);
      await kubectl(['delete', 'pod', oldest, '--namespace', own.namespace, '--wait=false']);
      replaced.push(oldest);
      // A pod of user-service waits for its database before it starts.
      if (service === 'user-service') continue;
      const deployment = `deployment/${release}-${service}`;
      await kubectl(['rollout', 'status', deployment, '--namespace', own.namespace, '--timeout=120s']);
    }
    await gone(own.namespace, replaced);
    const served = seen.requests;
    await eventually(() => assert.ok(seen.requests > served + 50));
  } finally {
    seen.running = false;
    await load;
    await scaleDatabase(1);
  }
  console.log(`${seen.requests} requests for orders, ${seen.failed.length} failed`);
  assert.deepEqual(seen.failed.slice(0, 5), []);
  assert.ok(seen.requests > 100);
});

async function scaleDatabase(replicas: number): Promise<void> {
  const target = ['statefulset', database, '--namespace', own.namespace];
  await kubectl(['scale', ...target, `--replicas=${replicas}`]);
  await eventually(async () => {
    const { status } = await get(own.namespace, 'statefulset', database);
    assert.equal(status.readyReplicas ?? 0, replicas);
    assert.equal(status.replicas ?? 0, replicas);
  }, 90_000);
}

function send(
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `http://${installation.ingress}${path}`,
      { method, agent, timeout: 15_000, headers: { ...headers, host: hostName } },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
        response.once('error', reject);
      },
    );
    sent.once('timeout', () => sent.destroy(new Error('no response within 15 s')));
    sent.once('error', reject).end(body);
  });
}
