import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { imageValues } from '../../scripts/lib/images.ts';
import { podSelector } from '../../scripts/lib/pods.ts';
import { root, services } from '../../scripts/lib/services.ts';
import { replaceMarked } from '../bench/brownout-report.ts';
import { type Acknowledged, type Clients, startClients, type Window } from '../clients/clients.ts';
import {
  describeFailures,
  failedAtOnce,
  formatFault,
  formatFaults,
  percentileOf,
} from '../clients/fault-table.ts';
import { imagesIn, readInstallation } from './lib/installation.ts';
import { killProcess } from './lib/kill-process.ts';
import { get, kubectl, type Manifest } from './lib/kubectl.ts';
import { podsOf, waitUntilDeleted, waitUntilReady } from './lib/rollouts.ts';

const run = promisify(execFile);
const { namespace, release, images, previousImages: previous = [], ingressHost, faults } = readInstallation();
const serviceNames = services.map(({ name }) => name);
const windows: Window[] = [];
/** p99 in milliseconds below which the services have warmed up. */
const settledMs = 100;
/** Maximum milliseconds of the warm-up. On a slow machine the tests start without it. */
const settleWithinMs = 60_000;
let clients: Clients;

// The tests run one after another under continuous load.
describe('under load through the Ingress', { concurrency: 1 }, () => {
  before(async () => {
    clients = startClients({
      address: faults.ingress,
      hostName: ingressHost,
      perSecond: Math.min(5, faults.perSecond),
    });
    // The first requests after a start are slow, and the controller may not serve the route yet.
    await wait(5000);
    clients.setPace(faults.perSecond);
    const giveUpAt = performance.now() + settleWithinMs;
    for (;;) {
      const idle = clients.open('warming up');
      await wait(5000);
      const result = await idle.close(0);
      const p99 = percentileOf(result, 99);
      if (result.failed.length === 0 && p99 < settledMs) return;
      if (performance.now() < giveUpAt) continue;
      assert.equal(result.failed.length, 0, describeFailures(result));
      console.log(
        `slow machine: p99 is ${p99.toFixed(0)} ms at ${faults.perSecond} requests a second without faults`,
      );
      return;
    }
  });

  after(async () => {
    await clients.stop();
    const report = `${faults.perSecond} requests a second.\n\n${formatFaults(windows)}`;
    console.log(`\n${report}\n`);
    if (!faults.record) return;
    const page = join(root, 'docs/kubernetes.md');
    await writeFile(page, replaceMarked(await readFile(page, 'utf8'), report, 'npm run e2e -- --record'));
  });

  it('no request fails without a fault', async () => {
    await expectNoFailure('no fault', () => undefined);
  });

  it('no request fails while all services return to the previous release and each is upgraded alone', async () => {
    await expectNoFailure('helm upgrade to the previous release, two pods each', () => upgrade(...previous));
    await upgradeOneByOne(serviceNames, 'two pods each');
  });

  it('no request fails during the same with one pod each, upgraded in reverse order', async () => {
    await expectNoFailure('helm upgrade to the previous release and to one pod each', () =>
      upgrade(...previous, ...replicas(1)),
    );
    await upgradeOneByOne(serviceNames.toReversed(), 'one pod each');
    await expectNoFailure('scale to two pods each', () => upgrade(...replicas(2)));
  });

  it('no request fails when a pod is deleted', async () => {
    const ends: Promise<PromiseSettledResult<void>[]>[] = [];
    for (const { name } of services) {
      const [pod = ''] = await podsOf(namespace, release, name);
      const faultWindow = await openFaultWindow(`deletion of a pod of ${name}`, name);
      await kubectl(['delete', 'pod', '--namespace', namespace, pod, '--wait=false']);
      await waitUntilReady(namespace, `${release}-${name}`, pod);
      ends.push(Promise.allSettled([faultWindow.end()]));
    }
    await expectAll(ends);
  });

  it('only requests in flight in the pod fail when a pod is killed', async () => {
    for (const { name } of services) {
      const [pod = ''] = await podsOf(namespace, release, name);
      const window = clients.open(`deletion of a pod of ${name} with --force --grace-period=0`);
      await kubectl(['delete', 'pod', '--namespace', namespace, pod, '--force', '--grace-period=0']);
      const deletedAt = performance.now();
      await waitUntilReady(namespace, `${release}-${name}`, pod);
      const result = await window.close();
      record(result);
      assert.ok(failedAtOnce(result.failed, networkEndsBeforeMs), describeFailures(result));
      const late = result.failed.filter(({ sentAt }) => sentAt > deletedAt + forgottenWithinMs);
      assert.equal(late.length, 0, describeFailures({ ...result, failed: late }));
    }
  });

  it('only requests in flight in the process fail when a gateway is killed, with retries of Traefik', async (t) => {
    const kinds = await kubectl(['get', 'customresourcedefinitions', '--output', 'name']);
    if (!kinds.includes('/middlewares.traefik.io')) return t.skip('the cluster has no Traefik');
    const retry = 'gateway.ingress.traefikRetry.enabled';
    await upgrade('--set', `${retry}=true`);
    await waitUntilServed();
    const [pod = ''] = await podsOf(namespace, release, 'gateway');
    const restarts = await restartsOf(pod);
    const window = clients.open('SIGKILL for a process of the gateway, with retries of Traefik');
    await killProcess(namespace, pod);
    await eventually(
      async () => assert.equal(await restartsOf(pod), restarts + 1),
      'a restart of the gateway',
      60_000,
    );
    await waitUntilReady(namespace, `${release}-gateway`);
    const result = await window.close();
    record(result);
    assert.ok(failedAtOnce(result.failed, processEndsWithinMs), describeFailures(result));
    await upgrade('--set', `${retry}=false`);
    await waitUntilServed();
  });

  it('no request fails a second after a service that was scaled to zero has a ready pod in DNS', async () => {
    const deployment = `${release}-order-service`;
    const pods = await podsOf(namespace, release, 'order-service');
    const window = clients.open('order-service scaled to zero and back');
    const scale = (count: number): Promise<string> =>
      kubectl(['scale', '--namespace', namespace, `deployment/${deployment}`, `--replicas=${count}`]);
    await scale(0);
    await waitUntilDeleted(namespace, pods);
    // Longer than the circuits take to open.
    await wait(3000);
    await scale(1);
    await Promise.all([waitUntilReady(namespace, deployment), waitUntilInDns(`${deployment}-headless`)]);
    const readyAt = performance.now();
    await scale(2);
    await waitUntilReady(namespace, deployment);
    const result = await window.close();
    record(result);
    assert.ok(result.failed.length > 0, 'requests fail without the service');
    const late = result.failed.filter(({ sentAt }) => sentAt > readyAt + reconnectMs);
    assert.equal(late.length, 0, describeFailures({ ...result, failed: late }));
  });

  it('no request fails while an autoscaler adds and removes gateway pods', async () => {
    const deployment = `${release}-gateway`;
    const hpa = async (): Promise<Manifest> => get(namespace, 'horizontalpodautoscaler', deployment);
    const scaling = (cpuPercent: number): Promise<void> => {
      const behavior = { scaleDown: { stabilizationWindowSeconds: 15 } };
      const pods = { minReplicas: 2, maxReplicas: 3 };
      return upgrade(
        '--set-json',
        `gateway.autoscaling=${JSON.stringify({ enabled: true, ...pods, cpuPercent, behavior })}`,
      );
    };
    const number = async (): Promise<number> =>
      (await get(namespace, 'deployment', deployment)).spec.replicas;
    await expectNoFailure('the autoscaler adds a pod to the gateway', async () => {
      // CPU usage depends on the machine, so the target is set below the measured usage.
      await scaling(1000);
      await waitUntilReady(namespace, deployment);
      const used = await eventually(
        async () => {
          await wait(1000);
          const { averageUtilization } = (await hpa()).status.currentMetrics[0].resource.current;
          assert.ok(averageUtilization > 0);
          return averageUtilization as number;
        },
        'the CPU usage of the gateway',
        120_000,
      );
      await scaling(Math.round(used * targetShare));
      await eventually(
        async () => {
          await wait(1000);
          assert.equal(await number(), 3);
        },
        'three gateway pods',
        180_000,
      );
      await waitUntilReady(namespace, deployment);
    });
    await expectNoFailure('the autoscaler takes a pod from the gateway', async () => {
      clients.setPace(faults.perSecond * reducedShare);
      await eventually(
        async () => {
          await wait(1000);
          assert.equal(await number(), 2);
        },
        'two gateway pods',
        240_000,
      );
    });
    clients.setPace(faults.perSecond);
    await upgrade('--set', 'gateway.autoscaling.enabled=false');
  });

  it('no request fails while a node is drained, and evictions respect the disruption budget', async (t) => {
    const nodes = (await get(namespace, 'nodes')).items;
    if (nodes.length < 2) return t.skip('the cluster has one node');
    const { items } = await get(namespace, 'pods', '--selector', servicePods);
    const node: string = items[0].spec.nodeName;
    try {
      await expectNoFailure('drain of a node', async () => {
        let draining = true;
        const drained = kubectl([
          ...['drain', node, '--pod-selector', servicePods, '--delete-emptydir-data', '--ignore-daemonsets'],
          '--timeout=300s',
        ]).finally(() => {
          draining = false;
        });
        while (draining) {
          for (const { spec, status, metadata } of (await get(namespace, 'deployments')).items)
            assert.ok((status.readyReplicas ?? 0) >= spec.replicas - 1, metadata.name);
          await wait(1000);
        }
        await drained;
      });
    } finally {
      await kubectl(['uncordon', node]);
    }
  });

  for (const { name, database: hasDatabase } of services) {
    if (!hasDatabase) continue;
    const database = `${release}-${name}-postgresql-0`;
    it(`writes return 503 with Retry-After while the database of ${name} is unavailable, and succeed again when it is ready`, async () => {
      const before = await get(namespace, 'pod', database);
      const window = clients.open(`deletion of the database of ${name}`);
      await kubectl(['delete', 'pod', '--namespace', namespace, database, '--wait=false']);
      await eventually(
        async () => {
          await wait(250);
          assert.notEqual((await get(namespace, 'pod', database)).metadata.uid, before.metadata.uid);
        },
        'a new database pod',
        120_000,
      );
      await kubectl([
        'wait',
        '--namespace',
        namespace,
        `pod/${database}`,
        '--for=condition=Ready',
        '--timeout=120s',
      ]);
      const readyAt = performance.now();
      await wait(recoveryMs + 3000);
      const result = await window.close();
      record(result);
      for (const { status, retryAfter } of result.failed) {
        assert.equal(status, 503, describeFailures(result));
        assert.match(retryAfter ?? '', /^\d+$/, describeFailures(result));
      }
      assert.ok(result.failed.length > 0, 'no request failed');
      const late = result.failed.filter(({ sentAt }) => sentAt > readyAt + recoveryMs);
      assert.equal(late.length, 0, describeFailures({ ...result, failed: late }));
    });
  }

  it('every acknowledged write is stored exactly once', async () => {
    await clients.stop();
    const { users, orders } = clients.acknowledged;
    assert.ok(users.length > 0 && orders.length > 0);
    await expectStored('user-service', 'users', "split_part(email, '@', 1)", users);
    await expectStored('order-service', 'orders', 'product', orders);
  });

  it('helm uninstall leaves only the volumes and the Secrets that they need', async () => {
    await run('helm', ['uninstall', release, '--namespace', namespace, '--wait', '--timeout', '5m']);
    const label = ['--selector', `app.kubernetes.io/instance=${release}`];
    await waitUntilDeleted(
      namespace,
      (await names('pods', label)).map((name) => name.replace('pods/', '')),
    );
    const kinds = [
      ...[
        'pods',
        'services',
        'deployments',
        'statefulsets',
        'configmaps',
        'secrets',
        'serviceaccounts',
        'ingresses',
      ],
      ...['networkpolicies', 'poddisruptionbudgets', 'horizontalpodautoscalers', 'persistentvolumeclaims'],
    ];
    const databases = services
      .filter(({ database }) => database)
      .map(({ name }) => `${release}-${name}-postgresql`);
    const remaining = (await Promise.all(kinds.map((kind) => names(kind, label)))).flat();
    const expected = [
      ...databases.flatMap((name) => [`persistentvolumeclaims/data-${name}-0`, `secrets/${name}`]),
      `secrets/${release}-events`,
    ];
    assert.deepEqual(remaining.sort(), expected.sort());
  });
});

/** The pods of all services. */
const servicePods = podSelector(release);

/**
 * Maximum milliseconds between the deletion of a pod by force and the last request that the gateway sends to its address: CoreDNS keeps an
 * address for 5 seconds and the gateway looks it up every 2 seconds. Meanwhile the node kills the pod.
 */
const forgottenWithinMs = 8000;

/** Maximum milliseconds between the end of the network and of the processes of a pod deleted by force; meanwhile it responds with 502. */
const networkEndsBeforeMs = 1000;

/**
 * Maximum milliseconds that the kernel takes to close the connections of a killed process, one after another, while other processes keep
 * the machine busy. Without retries, requests fail for 800 to 1300 ms: until Kubernetes has removed the address.
 */
const processEndsWithinMs = 500;

/** Milliseconds after DNS has the address of a new pod after which no request may fail. */
const reconnectMs = 1000;

/** Milliseconds after the database is ready after which no request may fail. */
const recoveryMs = 10_000;

/** Target of the autoscaler as a share of the measured usage. It is low, because new pods use more CPU at first. */
const targetShare = 0.4;

/** Share of the load that remains while the autoscaler removes pods. */
const reducedShare = 0.1;

/** Adds a window to the table and prints it. */
function record(window: Window): void {
  windows.push(window);
  console.log(formatFault(window));
}

/** Begins a window that ends when all replaced pods of a service (default: of all services) are deleted. */
async function openFaultWindow(title: string, service?: string): Promise<{ end(): Promise<void> }> {
  const podsBefore = await podsOf(namespace, release, service);
  const window = clients.open(title);
  return {
    async end() {
      const podsAfter = new Set(await podsOf(namespace, release, service));
      await waitUntilDeleted(
        namespace,
        podsBefore.filter((pod) => !podsAfter.has(pod)),
      );
      const result = await window.close();
      record(result);
      assert.equal(result.failed.length, 0, describeFailures(result));
    },
  };
}

/** Waits for the ends of overlapping windows. @throws the first error of one of them */
async function expectAll(ends: readonly Promise<PromiseSettledResult<void>[]>[]): Promise<void> {
  for (const result of (await Promise.all(ends)).flat())
    if (result.status === 'rejected') throw result.reason;
}

async function expectNoFailure(title: string, causeFault: () => Promise<void> | undefined): Promise<void> {
  const faultWindow = await openFaultWindow(title);
  await causeFault();
  await faultWindow.end();
}

/** Waits until no request fails. Traefik responds with 404 until it has read both the Ingress and its Middleware. */
async function waitUntilServed(): Promise<void> {
  await eventually(
    async () => {
      const window = clients.open('settling');
      await wait(2000);
      const result = await window.close(0);
      assert.equal(result.failed.length, 0, describeFailures(result));
    },
    'a window without failed requests',
    60_000,
  );
}

/** Waits until a gateway pod can resolve a host name. CoreDNS may cache for some seconds that a Service has no pods. */
async function waitUntilInDns(hostName: string): Promise<void> {
  const program = `
    const { lookup } = require('node:dns/promises');
    const attempt = () => lookup('${hostName}').catch(() => setTimeout(attempt, 100));
    attempt();`;
  const [pod = ''] = await podsOf(namespace, release, 'gateway');
  await kubectl(['exec', '--namespace', namespace, pod, '--', '/nodejs/bin/node', '--eval', program]);
}

async function restartsOf(pod: string): Promise<number> {
  return (await get(namespace, 'pod', pod)).status.containerStatuses[0].restartCount;
}

async function upgrade(...options: readonly string[]): Promise<void> {
  await run('helm', [
    ...['upgrade', release, 'charts/zerda', '--namespace', namespace, '--reuse-values', ...options],
    ...['--wait', '--timeout', '5m'],
  ]);
}

/** Upgrades one service after another from the previous release. */
async function upgradeOneByOne(order: readonly string[], size: string): Promise<void> {
  const ends: Promise<PromiseSettledResult<void>[]>[] = [];
  const current = imagesIn(images);
  const replaced = imagesIn(previous);
  assert.ok(replaced.size > 0, 'the previous release has no image');
  for (const name of order) {
    if (!replaced.has(name)) continue;
    const image = current.get(name);
    assert.ok(image);
    const podsBefore = await podsOf(namespace, release, name);
    const faultWindow = await openFaultWindow(`helm upgrade of ${name} alone, ${size}`, name);
    await upgrade(...imageValues(new Map([[name, image]])));
    const podsAfter = new Set(await podsOf(namespace, release, name));
    assert.deepEqual(
      podsBefore.filter((pod) => podsAfter.has(pod)),
      [],
      `the upgrade of ${name} replaces its pods`,
    );
    ends.push(Promise.allSettled([faultWindow.end()]));
  }
  await expectAll(ends);
}

function replicas(count: number): string[] {
  return services.flatMap(({ name }) => ['--set', `${name}.replicas=${count}`]);
}

/** Returns the objects of a kind as `kind/name`. */
async function names(kind: string, label: readonly string[]): Promise<string[]> {
  const { items } = await get(namespace, kind, ...label);
  return items.map(({ metadata }: Manifest) => `${kind}/${metadata.name}`);
}

/** Asserts that a database stores every acknowledged row exactly once. */
async function expectStored(
  service: string,
  table: string,
  mark: string,
  acknowledged: readonly Acknowledged[],
): Promise<void> {
  const query = `select id || ' ' || ${mark} from ${table} where ${mark} like '${clients.marks}%'`;
  const output = await kubectl([
    ...['exec', '--namespace', namespace, `${release}-${service}-postgresql-0`, '--'],
    ...['psql', '--username', table, '--dbname', table, '--tuples-only', '--no-align', '--command', query],
  ]);
  const stored = output.split('\n').filter((line) => line !== '');
  const known = new Set(stored);
  const missing = acknowledged.filter((row) => !known.has(`${row.id} ${row.mark}`));
  assert.deepEqual(missing, [], `${missing.length} of ${acknowledged.length} ${table} are missing`);
  const marks = stored.map((line) => line.slice(line.indexOf(' ') + 1));
  assert.equal(new Set(marks).size, marks.length, `${table} were stored twice`);
}
