import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { type StreamView, viewStream } from '../../packages/chassis/src/events/testing-nats.ts';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { check } from '../faults/lib/checker.ts';
import { ask } from '../faults/lib/databases.ts';
import { gather, readDeliveries } from '../faults/lib/evidence.ts';
import { orderInstruments, userInstruments } from '../faults/lib/instruments.ts';
import { createRandom } from '../faults/lib/random.ts';
import { comeToRest } from '../faults/lib/rest.ts';
import { type Clients, createClients, isAcknowledged } from '../faults/lib/writes.ts';
import { eventually } from '../system/lib/eventually.ts';
import { type ForwardedDatabases, forwardDatabases, secretValue } from './lib/databases.ts';
import { readInstallation } from './lib/installation.ts';
import { get, kubectl, type Manifest } from './lib/kubectl.ts';
import { installRelease, type OwnRelease } from './lib/own-release.ts';
import { imageOf, reachable } from './lib/probe.ts';
import { complete, podsOf } from './lib/rollouts.ts';

const installation = readInstallation();
const hostName = `events.${installation.ingressHost}`;

/** What is killed, in this order. */
const victims = ['order-service', 'nats', 'order-service', 'nats'] as const;

/** Milliseconds between two volleys of writes. */
const everyMs = 250;
/** Writes a second, at most: each is on a connection of its own, and changes what others are about to change. */
const mostPerSecond = 40;
/** Writes without their answer above which clients begin no more. */
const mostOpen = 80;
/** Acknowledged writes between two faults. */
const between = 60;
/** Milliseconds to come to rest: what a killed process had in hand is its own for half a minute. */
const rest = { clientsMs: 30_000, eventsMs: 90_000 };

describe('events through NATS', () => {
  let own: OwnRelease;
  let forwarded: ForwardedDatabases;

  before(async () => {
    const namespace = `${installation.namespace}-events`;
    own = await installRelease({
      ...{ namespace, release: 'zerda' },
      options: [
        ...installation.images,
        ...['--set', 'global.auth.mode=off,global.nats.type=bundled,global.valkey.type=bundled'],
        ...['--set', `gateway.ingress.hosts={${hostName}}`],
      ],
    });
    forwarded = await forwardDatabases(own.namespace, own.release);
    await ask(forwarded.databases.users, ({ rows }) => rows(userInstruments));
    await ask(forwarded.databases.orders, ({ rows }) => rows(orderInstruments));
  });

  after(async () => {
    await forwarded?.stop();
    await own?.remove();
  });

  it('are lost in no kill of NATS or order-service under load, nor done twice', async () => {
    const clients = createClients({
      gateways: [`http://${installation.faults.ingress}`],
      ...{ random: createRandom(1), prefix: 'e2e', headers: { host: hostName } },
    });
    const stop = await writeSteadily(clients);
    for (const victim of victims) {
      await acknowledged(clients, between);
      await kill(victim, clients);
    }
    await acknowledged(clients, between);
    stop();
    await clients.settled(rest.clientsMs);

    await viewingStream(async (stream) => {
      const consumer = () => stream.consumer('order-service');
      const { databases } = forwarded;
      const incidents = await comeToRest({ databases, consumer, withinMs: rest.eventsMs });
      incidents.push(...(await restarts()));
      const deliveries = await readDeliveries(stream, 0);
      const { writes } = clients;
      const evidence = await gather({ databases, transport: 'nats', writes, deliveries, incidents });
      const { events, letters } = evidence;
      console.log(
        `${writes.filter(isAcknowledged).length} of ${writes.length} writes acknowledged, ` +
          `${events.users.length + events.orders.length} events sent, ` +
          `${letters.users.length + letters.orders.length} given up`,
      );
      assert.deepEqual(check(evidence).slice(0, 20), []);
      // A check of nothing would find nothing.
      assert.ok(events.orders.some(({ reason }) => reason === 'user_deleted'));
      assert.ok(deliveries.length >= writes.filter(isAcknowledged).length);
    });
  });

  it('leave NATS open to the services that send and hear, and Valkey to the gateway', async () => {
    const { namespace, release } = own;
    const image = await imageOf(namespace, `${release}-gateway`);
    const address = async (name: string) => {
      const { items } = await get(namespace, 'pods', '--selector', `app.kubernetes.io/name=${name}`);
      return items[0].status.podIP as string;
    };
    const [nats, valkey, orders] = await Promise.all(['nats', 'valkey', 'order-service'].map(address));
    const doors = {
      nats: `${nats}:4222`,
      natsMonitor: `${nats}:8222`,
      valkey: `${valkey}:6379`,
      ordersManagement: `${orders}:9090`,
    };
    const openTo = async (name: string, component: string) => {
      const labels = {
        'app.kubernetes.io/name': name,
        'app.kubernetes.io/instance': release,
        'app.kubernetes.io/component': component,
      };
      const found = await reachable(image, Object.values(doors), { namespace, labels });
      return Object.entries(doors).flatMap(([door, target]) => (found.includes(target) ? [door] : []));
    };
    const open = await Promise.all([
      openTo('gateway', 'service'),
      openTo('user-service', 'service'),
      openTo('order-service', 'service'),
      openTo('nats', 'broker'),
      openTo('anything', 'service'),
    ]);
    assert.deepEqual(open, [['valkey'], ['nats'], ['nats'], [], []]);
  });

  /** Begins volleys at a steady pace, when the Ingress leads to the gateway. */
  async function writeSteadily(clients: Clients): Promise<() => void> {
    const url = `http://${installation.faults.ingress}/api/health`;
    await eventually(async () => {
      const status = await new Promise((resolve, reject) => {
        request(url, { headers: { host: hostName } }, (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        })
          .once('error', reject)
          .end();
      });
      assert.equal(status, 200);
    }, 60_000);
    const size = Math.ceil((Math.min(installation.faults.perSecond, mostPerSecond) * everyMs) / 1000);
    const timer = setInterval(() => clients.volley(Math.min(size, mostOpen - clients.open)), everyMs);
    return () => clearInterval(timer);
  }

  async function acknowledged(clients: Clients, more: number): Promise<void> {
    const count = () => clients.writes.filter(isAcknowledged).length;
    const wanted = count() + more;
    await eventually(async () => {
      await wait(100);
      assert.ok(count() >= wanted, `${count()} of ${wanted} writes acknowledged`);
    }, 60_000);
  }

  /** Kills a pod while writes are on their way, and waits until another one is in its place. */
  async function kill(victim: (typeof victims)[number], clients: Clients): Promise<void> {
    const { namespace, release } = own;
    const [pod = ''] = victim === 'nats' ? [`${release}-nats-0`] : await podsOf(namespace, release, victim);
    const { uid } = (await get(namespace, 'pod', pod)).metadata;
    // Writes come until it has happened: it takes longer than most of them.
    const more = setInterval(() => clients.volley(Math.min(10, mostOpen - clients.open)), 50);
    await kubectl(['delete', 'pod', pod, '--namespace', namespace, '--force', '--grace-period=0']).finally(
      () => clearInterval(more),
    );
    assert.ok(clients.open > 0, 'nobody was writing');
    console.log(`${pod} was killed amid ${clients.open} writes`);
    if (victim !== 'nats') return complete(namespace, `${release}-${victim}`, pod);
    await eventually(async () => {
      await wait(250);
      const { metadata, status } = await get(namespace, 'pod', pod);
      assert.notEqual(metadata.uid, uid);
      assert.ok(status.containerStatuses?.[0].ready, 'NATS is not ready');
    }, 90_000);
  }

  /** Containers of services that have ended by themselves. */
  async function restarts(): Promise<string[]> {
    const { items } = await get(own.namespace, 'pods', '--selector', 'app.kubernetes.io/component=service');
    return items.flatMap(({ metadata, status }: Manifest) =>
      status.containerStatuses
        .filter(({ restartCount }: Manifest) => restartCount > 0)
        .map(({ restartCount }: Manifest) => `${metadata.name} was started again ${restartCount} times`),
    );
  }

  async function viewingStream(look: (stream: StreamView) => Promise<void>): Promise<void> {
    const { namespace, release } = own;
    const pass = await secretValue(namespace, `${release}-nats`, 'password');
    const forward = await forwardPort(namespace, `${release}-nats`, { local: 0, remote: 4222 });
    try {
      const stream = await viewStream(forward.url.replace('http:', 'nats:'), 'ZERDA', {
        user: 'zerda',
        pass,
      });
      await look(stream).finally(() => stream.close());
    } finally {
      await forward.stop();
    }
  }
});
