import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
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
import { eventually } from '../system/lib/eventually.ts';
import { readInstallation } from './lib/installation.ts';
import { get, kubectl, type Manifest } from './lib/kubectl.ts';
import { complete, gone, podsOf } from './lib/rollouts.ts';

const run = promisify(execFile);
const { namespace, release, images, nextImages, ingressHost, faults } = readInstallation();
const windows: Window[] = [];
/** Milliseconds that one in a hundred requests takes at most, once programs that have just started are through with compiling. */
const settledMs = 100;
/** Milliseconds that they are given to get there; where they do not, the machine is slow, and faults are made all the same. */
const settleWithinMs = 60_000;
let clients: Clients;

/** One after the other, under a load that goes on from the first to the last. */
describe('under load through the Ingress', { concurrency: 1 }, () => {
  before(async () => {
    clients = startClients({
      address: faults.ingress,
      hostName: ingressHost,
      perSecond: Math.min(5, faults.perSecond),
    });
    // Programs that have just started are slow for their first requests, and the controller may not know the route yet.
    await wait(5000);
    clients.setPace(faults.perSecond);
    const giveUpAt = performance.now() + settleWithinMs;
    for (;;) {
      const idle = clients.open('warming up');
      await wait(5000);
      const seen = await idle.close(0);
      const p99 = percentileOf(seen, 99);
      if (seen.failed.length === 0 && p99 < settledMs) return;
      if (performance.now() < giveUpAt) continue;
      assert.equal(seen.failed.length, 0, describeFailures(seen));
      console.log(
        `a slow machine: p99 is ${p99.toFixed(0)} ms at ${faults.perSecond} a second with nothing else at work`,
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

  it('nothing fails when nothing happens', async () => {
    await expectNoFailure('no fault', () => undefined);
  });

  it('an upgrade of all services to another tag fails no request', async () => {
    await expectNoFailure('helm upgrade to another tag, two pods each', () => upgrade(...nextImages));
  });

  it('an upgrade with one pod of each fails no request', async () => {
    await expectNoFailure('scale to one pod each', () => upgrade(...replicas(1)));
    await expectNoFailure('helm upgrade to another tag, one pod each', () => upgrade(...images));
    await expectNoFailure('scale to two pods each', () => upgrade(...replicas(2)));
  });

  it('a rolling restart of each Deployment fails no request', async () => {
    const ends: Promise<PromiseSettledResult<void>[]>[] = [];
    for (const { name } of services) {
      const deployment = `${release}-${name}`;
      const begun = await begin(`rolling restart of ${name}`, name);
      await kubectl(['rollout', 'restart', '--namespace', namespace, `deployment/${deployment}`]);
      await kubectl([
        'rollout',
        'status',
        '--namespace',
        namespace,
        `deployment/${deployment}`,
        '--timeout=180s',
      ]);
      ends.push(Promise.allSettled([begun.end()]));
    }
    await expectAll(ends);
  });

  it('a pod that is deleted fails no request', async () => {
    const ends: Promise<PromiseSettledResult<void>[]>[] = [];
    for (const { name } of services) {
      const [pod = ''] = await podsOf(namespace, release, name);
      const begun = await begin(`deletion of a pod of ${name}`, name);
      await kubectl(['delete', 'pod', '--namespace', namespace, pod, '--wait=false']);
      await complete(namespace, `${release}-${name}`, pod);
      ends.push(Promise.allSettled([begun.end()]));
    }
    await expectAll(ends);
  });

  it('a pod that is killed fails no more than the requests that are on their way in it', async () => {
    for (const { name } of services) {
      const [pod = ''] = await podsOf(namespace, release, name);
      const window = clients.open(`deletion of a pod of ${name} with --force --grace-period=0`);
      await kubectl(['delete', 'pod', '--namespace', namespace, pod, '--force', '--grace-period=0']);
      const deletedAt = performance.now();
      await complete(namespace, `${release}-${name}`, pod);
      const seen = await window.close();
      tell(seen);
      assert.ok(failedAtOnce(seen.failed, networkEndsBeforeMs), describeFailures(seen));
      const late = seen.failed.filter(({ sentAt }) => sentAt > deletedAt + killWithinMs);
      assert.equal(late.length, 0, describeFailures({ ...seen, failed: late }));
    }
  });

  it('an autoscaler adds pods to the gateway and takes them away, and fails no request', async () => {
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
      // What the load takes of the CPU is another figure on each machine: the aim is set below what the autoscaler sees.
      await scaling(1000);
      await complete(namespace, deployment);
      const used = await eventually(async () => {
        await wait(1000);
        const { averageUtilization } = (await hpa()).status.currentMetrics[0].resource.current;
        assert.ok(averageUtilization > 0);
        return averageUtilization as number;
      }, 120_000);
      await scaling(Math.round(used * aimShare));
      await eventually(async () => {
        await wait(1000);
        assert.equal(await number(), 3);
      }, 180_000);
      await complete(namespace, deployment);
    });
    await expectNoFailure('the autoscaler takes a pod from the gateway', async () => {
      clients.setPace(faults.perSecond * calmShare);
      await eventually(async () => {
        await wait(1000);
        assert.equal(await number(), 2);
      }, 240_000);
    });
    clients.setPace(faults.perSecond);
    await upgrade('--set', 'gateway.autoscaling.enabled=false');
  });

  it('a node that is drained fails no request, and takes no more pods at once than the budget allows', async (t) => {
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

  for (const { name, hasDatabase } of services) {
    if (!hasDatabase) continue;
    const database = `${release}-${name}-postgresql-0`;
    it(`while the database of ${name} is away, writes fail with 503 and Retry-After; it recovers by itself with all that was acknowledged`, async () => {
      const before = await get(namespace, 'pod', database);
      const window = clients.open(`deletion of the database of ${name}`);
      await kubectl(['delete', 'pod', '--namespace', namespace, database, '--wait=false']);
      await eventually(async () => {
        await wait(250);
        assert.notEqual((await get(namespace, 'pod', database)).metadata.uid, before.metadata.uid);
      }, 120_000);
      await kubectl([
        'wait',
        '--namespace',
        namespace,
        `pod/${database}`,
        '--for=condition=Ready',
        '--timeout=120s',
      ]);
      const readyAt = performance.now();
      await wait(recoveryMs + 5000);
      const seen = await window.close();
      tell(seen);
      for (const { status, retryAfter } of seen.failed) {
        assert.equal(status, 503, describeFailures(seen));
        assert.match(retryAfter ?? '', /^\d+$/, describeFailures(seen));
      }
      assert.ok(seen.failed.length > 0, 'nobody noticed');
      const late = seen.failed.filter(({ sentAt }) => sentAt > readyAt + recoveryMs);
      assert.equal(late.length, 0, describeFailures({ ...seen, failed: late }));
    });
  }

  it('everything that was acknowledged is there, once', async () => {
    await clients.stop();
    const { users, orders } = clients.acknowledged;
    assert.ok(users.length > 0 && orders.length > 0);
    await expectStored('user-service', 'users', "split_part(email, '@', 1)", users);
    await expectStored('order-service', 'orders', 'product', orders);
  });

  it('uninstalling leaves the volumes and the Secrets that are needed to read them, and nothing else', async () => {
    await run('helm', ['uninstall', release, '--namespace', namespace, '--wait', '--timeout', '5m']);
    const label = ['--selector', `app.kubernetes.io/instance=${release}`];
    await gone(
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
      .filter(({ hasDatabase }) => hasDatabase)
      .map(({ name }) => `${release}-${name}-postgresql`);
    const left = (await Promise.all(kinds.map((kind) => names(kind, label)))).flat();
    const kept = [
      ...databases.flatMap((name) => [`persistentvolumeclaims/data-${name}-0`, `secrets/${name}`]),
      `secrets/${release}-events`,
    ];
    assert.deepEqual(left.sort(), kept.sort());
  });
});

/** The pods of all services. */
const servicePods = `app.kubernetes.io/instance=${release},app.kubernetes.io/component=service`;

/** Milliseconds after a deletion by force within which the node has killed the pod. */
const killWithinMs = 5000;

/** Milliseconds by which the network of a pod that is deleted by force may end before its processes do: it still responds, with 502. */
const networkEndsBeforeMs = 1000;

/** Milliseconds after the database is ready from which no request may fail. */
const recoveryMs = 30_000;

/** What the autoscaler aims at, as a share of what it has seen: low, since pods that have just started use more than later. */
const aimShare = 0.4;

/** Part of the load that is left while the autoscaler takes pods away. */
const calmShare = 0.1;

/** Keeps a window for the table, and tells of it at once. */
function tell(window: Window): void {
  windows.push(window);
  console.log(formatFault(window));
}

/** Begins a window that ends when all pods of a service (default: of all) that are there now and are replaced have gone. */
async function begin(title: string, service?: string): Promise<{ end(): Promise<void> }> {
  const old = await podsOf(namespace, release, service);
  const window = clients.open(title);
  return {
    async end() {
      const kept = new Set(await podsOf(namespace, release, service));
      await gone(
        namespace,
        old.filter((pod) => !kept.has(pod)),
      );
      const seen = await window.close();
      tell(seen);
      assert.equal(seen.failed.length, 0, describeFailures(seen));
    },
  };
}

/** Waits for windows that have been closed while others were open. @throws Error the first that one of them had */
async function expectAll(ends: readonly Promise<PromiseSettledResult<void>[]>[]): Promise<void> {
  for (const result of (await Promise.all(ends)).flat())
    if (result.status === 'rejected') throw result.reason;
}

async function expectNoFailure(title: string, happen: () => Promise<void> | undefined): Promise<void> {
  const begun = await begin(title);
  await happen();
  await begun.end();
}

async function upgrade(...options: readonly string[]): Promise<void> {
  await run('helm', [
    ...['upgrade', release, 'charts/zerda', '--namespace', namespace, '--reuse-values', ...options],
    ...['--wait', '--timeout', '5m'],
  ]);
}

function replicas(count: number): string[] {
  return services.flatMap(({ name }) => ['--set', `${name}.replicas=${count}`]);
}

/** Objects of a kind, as `kind/name`. */
async function names(kind: string, label: readonly string[]): Promise<string[]> {
  const { items } = await get(namespace, kind, ...label);
  return items.map(({ metadata }: Manifest) => `${kind}/${metadata.name}`);
}

/** Compares what a database has of the clients' rows with what they were told. */
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
