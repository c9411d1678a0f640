import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { type StreamView, viewStream } from '../../packages/events/testing/nats.ts';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { findViolations } from '../faults/lib/checker.ts';
import { withConnection } from '../faults/lib/databases.ts';
import { collectEvidence, readDeliveries } from '../faults/lib/evidence.ts';
import { orderInstruments, userInstruments } from '../faults/lib/instruments.ts';
import { createRandom } from '../faults/lib/random.ts';
import { waitUntilIdle } from '../faults/lib/wait-until-idle.ts';
import { type Clients, createClients, isAcknowledged } from '../faults/lib/writes.ts';
import { type ForwardedDatabases, forwardDatabases, secretValue } from './lib/databases.ts';
import { readInstallation } from './lib/installation.ts';
import { get, kubectl, type Manifest } from './lib/kubectl.ts';
import { findReachable, imageOf } from './lib/probe.ts';
import { podsOf, waitUntilReady } from './lib/rollouts.ts';
import { installRelease, type TestRelease } from './lib/test-release.ts';

const installation = readInstallation();
const hostName = `events.${installation.ingressHost}`;

/** Processes to kill, in this order. */
const victims = ['order-service', 'nats', 'order-service', 'nats'] as const;

/** Milliseconds between two batches of writes. */
const everyMs = 250;
/** Maximum number of writes a second. Each uses its own connection and conflicts with others. */
const maxPerSecond = 40;
/** Maximum number of writes without a response. */
const maxPending = 80;
/** Acknowledged writes between two faults. */
const writesBetweenFaults = 60;
/** Milliseconds until nothing is in flight: the claims of a killed process expire after half a minute. */
const idleTimeouts = { clientsMs: 30_000, eventsMs: 90_000 };

describe('events over NATS', () => {
  let testRelease: TestRelease;
  let forwarded: ForwardedDatabases;

  before(async () => {
    const namespace = `${installation.namespace}-events`;
    testRelease = await installRelease({
      namespace,
      release: 'zerda',
      options: [
        ...installation.images,
        ...['--set', 'global.auth.mode=off,global.nats.type=bundled,global.valkey.type=bundled'],
        ...['--set', `gateway.ingress.hosts={${hostName}}`],
      ],
    });
    forwarded = await forwardDatabases(testRelease.namespace, testRelease.release);
    await withConnection(forwarded.databases.users, ({ rows }) => rows(userInstruments));
    await withConnection(forwarded.databases.orders, ({ rows }) => rows(orderInstruments));
  });

  after(async () => {
    await forwarded?.stop();
    await testRelease?.remove();
  });

  it('are applied exactly once when NATS and order-service are killed under load', async () => {
    const clients = createClients({
      gateways: [`http://${installation.faults.ingress}`],
      random: createRandom(1),
      prefix: 'e2e',
      headers: { host: hostName },
    });
    const stop = await writeSteadily(clients);
    for (const victim of victims) {
      await waitForAcknowledged(clients, writesBetweenFaults);
      await kill(victim, clients);
    }
    await waitForAcknowledged(clients, writesBetweenFaults);
    stop();
    await clients.waitForResponses(idleTimeouts.clientsMs);

    await withStream(async (stream) => {
      const consumer = () => stream.consumer('order-service');
      const { databases } = forwarded;
      const incidents = await waitUntilIdle({ databases, consumer, withinMs: idleTimeouts.eventsMs });
      incidents.push(...(await restarts()));
      const deliveries = await readDeliveries(stream, 0);
      const { writes } = clients;
      const evidence = await collectEvidence({ databases, transport: 'nats', writes, deliveries, incidents });
      const { events, deadLetters } = evidence;
      console.log(
        `${writes.filter(isAcknowledged).length} of ${writes.length} writes acknowledged, ` +
          `${events.users.length + events.orders.length} events sent, ` +
          `${deadLetters.users.length + deadLetters.orders.length} dead letters`,
      );
      assert.deepEqual(findViolations(evidence).slice(0, 20), []);
      // The check must have covered something.
      assert.ok(events.orders.some(({ reason }) => reason === 'user_deleted'));
      assert.ok(deliveries.length >= writes.filter(isAcknowledged).length);
    });
  });

  it('need connections only from both services to NATS, and from the gateway to Valkey', async () => {
    const { namespace, release } = testRelease;
    const image = await imageOf(namespace, `${release}-gateway`);
    const address = async (name: string) => {
      const { items } = await get(namespace, 'pods', '--selector', `app.kubernetes.io/name=${name}`);
      return items[0].status.podIP as string;
    };
    const [nats, valkey, orders] = await Promise.all(['nats', 'valkey', 'order-service'].map(address));
    const targets = {
      nats: `${nats}:4222`,
      natsMonitor: `${nats}:8222`,
      valkey: `${valkey}:6379`,
      ordersManagement: `${orders}:9090`,
    };
    const reachableFrom = async (service: string, component: string) => {
      const labels = {
        'app.kubernetes.io/name': service,
        'app.kubernetes.io/instance': release,
        'app.kubernetes.io/component': component,
      };
      const reachable = await findReachable(image, Object.values(targets), { namespace, labels });
      return Object.entries(targets).flatMap(([name, target]) => (reachable.includes(target) ? [name] : []));
    };
    const reachable = await Promise.all([
      reachableFrom('gateway', 'service'),
      reachableFrom('user-service', 'service'),
      reachableFrom('order-service', 'service'),
      reachableFrom('nats', 'broker'),
      reachableFrom('anything', 'service'),
    ]);
    assert.deepEqual(reachable, [['valkey'], ['nats'], ['nats'], [], []]);
  });

  /** Waits until the Ingress routes to the gateway, then starts writes at a steady rate. Returns a function that stops them. */
  async function writeSteadily(clients: Clients): Promise<() => void> {
    const url = `http://${installation.faults.ingress}/api/health`;
    await eventually(
      async () => {
        const { status } = await sendRequest(url, { headers: { host: hostName } });
        assert.equal(status, 200);
      },
      'a healthy gateway behind the ingress',
      60_000,
    );
    const size = Math.ceil((Math.min(installation.faults.perSecond, maxPerSecond) * everyMs) / 1000);
    const timer = setInterval(
      () => clients.startWrites(Math.min(size, maxPending - clients.pending)),
      everyMs,
    );
    return () => clearInterval(timer);
  }

  async function waitForAcknowledged(clients: Clients, more: number): Promise<void> {
    const count = () => clients.writes.filter(isAcknowledged).length;
    const target = count() + more;
    await eventually(
      async () => {
        await wait(100);
        assert.ok(count() >= target, `${count()} of ${target} writes acknowledged`);
      },
      'acknowledged writes',
      60_000,
    );
  }

  /** Kills a pod while writes are in flight, and waits until a new pod is ready. */
  async function kill(victim: (typeof victims)[number], clients: Clients): Promise<void> {
    const { namespace, release } = testRelease;
    const [pod = ''] = victim === 'nats' ? [`${release}-nats-0`] : await podsOf(namespace, release, victim);
    const { uid } = (await get(namespace, 'pod', pod)).metadata;
    // Keep writes in flight, because the deletion takes longer than most of them.
    const more = setInterval(() => clients.startWrites(Math.min(10, maxPending - clients.pending)), 50);
    await kubectl(['delete', 'pod', pod, '--namespace', namespace, '--force', '--grace-period=0']).finally(
      () => clearInterval(more),
    );
    assert.ok(clients.pending > 0, 'no write was in flight');
    console.log(`${pod} killed with ${clients.pending} writes in flight`);
    if (victim !== 'nats') return waitUntilReady(namespace, `${release}-${victim}`, pod);
    await eventually(
      async () => {
        await wait(250);
        const { metadata, status } = await get(namespace, 'pod', pod);
        assert.notEqual(metadata.uid, uid);
        assert.ok(status.containerStatuses?.[0].ready, 'NATS is not ready');
      },
      'a ready NATS pod',
      90_000,
    );
  }

  /** Lists service containers that Kubernetes has restarted. */
  async function restarts(): Promise<string[]> {
    const { items } = await get(
      testRelease.namespace,
      'pods',
      '--selector',
      'app.kubernetes.io/component=service',
    );
    return items.flatMap(({ metadata, status }: Manifest) =>
      status.containerStatuses
        .filter(({ restartCount }: Manifest) => restartCount > 0)
        .map(({ restartCount }: Manifest) => `${metadata.name} was restarted ${restartCount} times`),
    );
  }

  async function withStream(work: (stream: StreamView) => Promise<void>): Promise<void> {
    const { namespace, release } = testRelease;
    const pass = await secretValue(namespace, `${release}-nats`, 'password');
    const forward = await forwardPort(namespace, `${release}-nats`, { local: 0, remote: 4222 });
    try {
      const stream = await viewStream(forward.url.replace('http:', 'nats:'), 'ZERDA', {
        user: 'zerda',
        pass,
      });
      await work(stream).finally(() => stream.close());
    } finally {
      await forward.stop();
    }
  }
});
