import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { findCommand } from '../../scripts/lib/chart.ts';
import { captureOutput } from '../../scripts/lib/child-process.ts';
import { services } from '../../scripts/lib/services.ts';
import { percentile, spread } from '../bench/statistics.ts';
import { startSteadyLoad } from '../bench/steady-load.ts';
import { startClients } from '../clients/clients.ts';
import { describeFailures, formatFaults } from '../clients/fault-table.ts';
import { cpuRate, sampleCpu } from './lib/container-cpu.ts';
import { setDemo, setMetricsFrom, setValue } from './lib/helm-values.ts';
import { readInstallation } from './lib/installation.ts';
import { apply, get, kubectl, type Manifest, runPod } from './lib/kubectl.ts';
import { imageOf, nodePod } from './lib/probe.ts';
import { podsOf, waitForRollouts, waitUntilReady } from './lib/rollouts.ts';
import { verifySpecification } from './lib/specification.ts';
import { installRelease, type TestRelease } from './lib/test-release.ts';

const installation = readInstallation();
const { monitoring, ingress, faults } = installation;
const namespace = `${installation.namespace}-mesh`;
const host = `${namespace}.e2e.example`;
const release = 'zerda';

/** A call of a probe pod, and its response: the status, or the code of the error. */
interface Call {
  readonly url: string;
  readonly method?: string;
}

interface Caller {
  /** Name of the service whose labels the pod has, so that network policies permit its calls. */
  readonly labelsOf: string;
  readonly serviceAccount?: string;
  /** Whether the pod has a proxy of the mesh. */
  readonly inMesh: boolean;
  readonly from?: string;
}

describe('in Istio', { concurrency: 1 }, () => {
  let testRelease: TestRelease | undefined;
  let image: string;

  before(async () => {
    await kubectl(['get', 'customresourcedefinition', 'authorizationpolicies.security.istio.io']).catch(
      () => {
        throw new Error('Istio is not installed in the cluster. Install it as docs/mesh.md describes.');
      },
    );
    testRelease = await installRelease({
      namespace,
      release,
      // The init container of a proxy sets up the network of the pod. Clusters with the CNI plugin of Istio can enforce `restricted`.
      podSecurity: 'privileged',
      options: [
        ...['--values', 'charts/zerda/values-istio.yaml'],
        ...releaseOptions(host),
        ...setMetricsFrom(monitoring),
      ],
    });
    image = await imageOf(namespace, `${release}-gateway`);
  });

  after(() => testRelease?.remove());

  it('every pod has a proxy', async () => {
    const { items } = await get(namespace, 'pods');
    assert.ok(items.length >= 10);
    for (const { metadata, spec } of items) {
      const sidecar = spec.initContainers?.find(({ name }: Manifest) => name === 'istio-proxy');
      assert.equal(sidecar?.restartPolicy, 'Always', metadata.name);
    }
  });

  it('the commands of the specification work through the Ingress', (t) =>
    verifySpecification(t, ingress, host));

  it('helm test passes', async () => {
    await captureOutput(['helm', 'test', release, '--namespace', namespace, '--timeout', '2m']);
  });

  it('plain text is refused, except requests for metrics', async () => {
    const users = `http://${release}-user-service`;
    const responses = await callsFrom({ labelsOf: 'gateway', inMesh: false }, [
      { url: `${users}:8001/api/users` },
    ]);
    assert.deepEqual(responses, ['ECONNRESET']);
    const { podIP } = (await onePod('user-service')).status;
    const management = `http://${podIP}:9090`;
    assert.deepEqual(
      await callsFrom({ labelsOf: 'prometheus', inMesh: false, from: monitoring }, [
        { url: `${management}/metrics` },
        { url: `${management}/user-ids` },
        { url: `${management}/events`, method: 'POST' },
      ]),
      [200, '403 RBAC', '403 RBAC'],
    );
  });

  it('a pod is permitted by its service account, not by its labels', async () => {
    const calls = [
      { url: `http://${release}-user-service:8001/api/users` },
      { url: `http://${release}-user-service:9090/user-ids` },
      { url: `http://${release}-user-service:9090/log-level`, method: 'POST' },
    ];
    const labelsOf = 'order-service';
    assert.deepEqual(await callsFrom({ labelsOf, inMesh: true }, calls), [
      '403 RBAC',
      '403 RBAC',
      '403 RBAC',
    ]);
    const serviceAccount = `${release}-order-service`;
    const [api, userIds, level] = await callsFrom({ labelsOf, inMesh: true, serviceAccount }, calls);
    // The proxy permits the call of user ids; the service rejects it, because it is not signed.
    assert.deepEqual([api, userIds, level], [200, 401, '403 RBAC']);
  });

  it('a trace continues from the gateway to the services', async () => {
    const { headers } = await sendRequest(`http://${ingress}/api/users/1/profile`, { headers: { host } });
    const [, traceId = ''] = String(headers.traceresponse).split('-');
    assert.match(traceId, /^[0-9a-f]{32}$/);
    for (const service of ['user-service', 'order-service'])
      await eventually(async () => {
        const logs = await kubectl([
          ...['logs', '--namespace', namespace, '--tail=-1', '--container', service, '--prefix=false'],
          ...['--selector', `app.kubernetes.io/name=${service},app.kubernetes.io/component=service`],
        ]);
        assert.ok(logs.includes(traceId), service);
      });
  });

  it('passes istioctl analyze', async (t) => {
    if ((await findCommand('istioctl')) === undefined) return t.skip('istioctl is not on the PATH');
    const output = await captureOutput(['istioctl', 'analyze', '--namespace', namespace]);
    // IST0137: the gateway has two ports for one port of its pods, both for HTTP.
    const findings = output
      .split('\n')
      .filter((line) => /^(Error|Warning)/.test(line) && !line.includes('IST0137'));
    assert.deepEqual(findings, []);
  });

  it('a replica that fails is ejected, and one that is slow receives few calls', async (t) => {
    const readUser = async (): Promise<[status: number, ms: number]> => {
      const sentAt = performance.now();
      const { status } = await sendRequest(`http://${ingress}/api/users/1`, { headers: { host } });
      return [status, performance.now() - sentAt];
    };
    const replica = await faultyReplica();
    await apply(replica('failing', 'response.writeHead(500).end()'));
    t.after(() =>
      kubectl(['delete', 'pod', 'failing', 'slow', '--namespace', namespace, '--ignore-not-found', '--now']),
    );
    await waitForPod('failing');
    let failed = 0;
    // Two gateways, each with a proxy that ejects the replica after five errors in a row.
    for (let call = 0; call < 300; call += 1) if ((await readUser())[0] >= 500) failed += 1;
    t.diagnostic(`${failed} of 300 calls failed until both gateways had ejected the replica`);
    assert.ok(failed >= 1 && failed <= 20, `${failed} of 300 calls failed`);
    await kubectl(['delete', 'pod', 'failing', '--namespace', namespace, '--now']);

    await apply(replica('slow', "setTimeout(() => response.end('{}'), 1500)"));
    await waitForPod('slow');
    const slow = await Promise.all(
      Array.from({ length: 8 }, async () => {
        let count = 0;
        for (let call = 0; call < 40; call += 1) if ((await readUser())[1] > 1000) count += 1;
        return count;
      }),
    );
    const total = slow.reduce((sum, count) => sum + count, 0);
    t.diagnostic(`${total} of 320 calls reached the slow replica, a third of the replicas`);
    assert.ok(total < 64, `${total} of 320 calls reached the slow replica`);
  });

  it('no request fails during a rolling restart of each Deployment and when pods are deleted', async (t) => {
    const clients = startClients({
      address: ingress,
      hostName: host,
      perSecond: Math.min(30, faults.perSecond),
    });
    try {
      await wait(10_000);
      const windows = [];
      const restart = clients.open('rolling restart of all Deployments');
      for (const { name } of services)
        await kubectl(['rollout', 'restart', '--namespace', namespace, `deployment/${release}-${name}`]);
      await waitForRollouts(namespace);
      windows.push(await restart.close());
      for (const { name } of services) {
        const [pod = ''] = await podsOf(namespace, release, name);
        const deletion = clients.open(`deletion of a pod of ${name}`);
        await kubectl(['delete', 'pod', '--namespace', namespace, pod, '--wait=false']);
        await waitUntilReady(namespace, `${release}-${name}`, pod);
        windows.push(await deletion.close());
      }
      t.diagnostic(`\n${formatFaults(windows)}`);
      for (const result of windows) assert.equal(result.failed.length, 0, describeFailures(result));
    } finally {
      await clients.stop();
    }
  });

  it('the cost of the proxies is measured beside the same release without a mesh', async (t) => {
    const plainNamespace = `${namespace}-none`;
    const plainHost = `${plainNamespace}.e2e.example`;
    const plain = await installRelease({
      namespace: plainNamespace,
      release,
      options: releaseOptions(plainHost),
    });
    t.after(() => plain.remove());
    const inMesh: Cost[] = [];
    const withoutMesh: Cost[] = [];
    for (let round = 0; round < costRounds; round += 1) {
      withoutMesh.push(await measureCost(plainNamespace, plainHost));
      inMesh.push(await measureCost(namespace, host));
    }
    t.diagnostic(
      `${costPerSecond} requests a second of GET /api/users/1, medians of ${costRounds} rounds\n${formatCosts({ 'without a mesh': withoutMesh, 'in Istio': inMesh })}`,
    );
    for (const { proxyMicroseconds } of inMesh) assert.ok(proxyMicroseconds > 0);
  });

  async function onePod(service: string): Promise<Manifest> {
    const [pod = ''] = await podsOf(namespace, release, service);
    return get(namespace, 'pod', pod);
  }

  async function waitForPod(name: string): Promise<void> {
    await kubectl([
      'wait',
      `pod/${name}`,
      '--namespace',
      namespace,
      '--for=condition=Ready',
      '--timeout=120s',
    ]);
    // The proxies of the callers learn its address from istiod.
    await wait(3000);
  }

  /** Returns a function that creates a pod which the Service of user-service selects. `respond` is the program of a response. */
  async function faultyReplica(): Promise<(name: string, respond: string) => Manifest> {
    const { metadata, spec } = (await get(namespace, 'deployment', `${release}-user-service`)).spec.template;
    const program = (respond: string): string => `
      import { createServer } from 'node:http';
      const listener = (request, response) => { ${respond} };
      createServer(listener).listen(8001);
      createServer((request, response) => response.end()).listen(9090);
      process.on('SIGTERM', () => process.exit(0));`;
    return (name, respond) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace, labels: metadata.labels, annotations: metadata.annotations },
      spec: {
        serviceAccountName: spec.serviceAccountName,
        terminationGracePeriodSeconds: 1,
        securityContext: spec.securityContext,
        containers: [
          {
            ...spec.containers[0],
            args: ['--input-type=module', '--eval', program(respond)],
            env: [],
            envFrom: [],
            lifecycle: undefined,
            volumeMounts: [],
          },
        ],
      },
    });
  }

  /** Makes calls from a pod. Returns for each the status, `403 RBAC` if a policy denied it, or the code of the error. */
  async function callsFrom(caller: Caller, calls: readonly Call[]): Promise<(number | string)[]> {
    const program = `
      import { setTimeout as wait } from 'node:timers/promises';
      // Network policies take effect shortly after a pod starts.
      await wait(2000);
      const results = [];
      for (const { url, method } of ${JSON.stringify(calls)})
        results.push(await fetch(url, { method, signal: AbortSignal.timeout(10_000) }).then(
          async (response) => (await response.text()).startsWith('RBAC') ? response.status + ' RBAC' : response.status,
          (error) => error.cause?.code ?? String(error),
        ));
      console.log(JSON.stringify(results));`;
    const pod = await nodePod(image, program, {
      namespace: caller.from ?? namespace,
      labels: {
        'app.kubernetes.io/name': caller.labelsOf,
        'app.kubernetes.io/instance': release,
        'app.kubernetes.io/component': 'service',
        'sidecar.istio.io/inject': String(caller.inMesh),
      },
    });
    pod.metadata.annotations = { 'sidecar.istio.io/nativeSidecar': 'true' };
    if (caller.serviceAccount !== undefined) pod.spec.serviceAccountName = caller.serviceAccount;
    return JSON.parse(await runPod(pod));
  }
});

/** Returns the options of a release, with or without a mesh. */
function releaseOptions(hostName: string): string[] {
  return [
    ...setDemo(installation.images),
    ...setValue('global.nats.type', 'bundled'),
    ...setValue('global.valkey.type', 'bundled'),
    ...setValue('gateway.ingress.hosts', [hostName]),
    // All requests have one address here.
    ...setValue('gateway.env.RATE_LIMIT_FACTOR', '100'),
  ];
}

/** Rounds of each release, requests a second, and minimum milliseconds of a round, in the measurement of costs. */
const costRounds = 3;
const costPerSecond = 60;
const costMs = 10_000;
/** Milliseconds at the start of a round that do not count: idle processes respond slowly at first. */
const costWarmUpMs = 5000;

/** Costs of a release in a round. */
interface Cost {
  readonly p50: number;
  readonly p99: number;
  /** CPU of the services and of their proxies per request. */
  readonly serviceMicroseconds: number;
  readonly proxyMicroseconds: number;
}

/** Reads a user through the gateway at a fixed pace. @throws AssertionError if a request fails */
async function measureCost(of: string, hostName: string): Promise<Cost> {
  const [address = '', port] = ingress.split(':');
  const latencies: number[] = [];
  const failures: string[] = [];
  const load = startSteadyLoad({
    host: address,
    port: Number(port),
    perSecond: costPerSecond,
    request: () => ({ path: '/api/users/1', headers: { host: hostName } }),
    onOutcome({ status, error, ms }, index) {
      if (status !== 200) failures.push(String(status ?? error));
      else if (index >= (costPerSecond * costWarmUpMs) / 1000) latencies.push(ms);
    },
  });
  let perRequest: (select: (container: string) => boolean) => number;
  try {
    await wait(costWarmUpMs);
    // The kubelets measure every few seconds, so the load continues until they have.
    const before = await sampleCpu(of, Date.now());
    await wait(costMs);
    const now = await sampleCpu(of, Date.now());
    perRequest = (select) => cpuRate(before, now, select) / costPerSecond;
  } finally {
    await load.stop();
  }
  assert.deepEqual(failures, []);
  latencies.sort((a, b) => a - b);
  const names = services.map(({ name }) => name);
  return {
    p50: percentile(latencies, 50) ?? Number.NaN,
    p99: percentile(latencies, 99) ?? Number.NaN,
    serviceMicroseconds: perRequest((container) => names.includes(container)),
    proxyMicroseconds: perRequest((container) => container === 'istio-proxy'),
  };
}

/** Formats the medians of the rounds as a table. */
function formatCosts(costs: Readonly<Record<string, readonly Cost[]>>): string {
  const columns = [
    ['p50', 1],
    ['p99', 1],
    ['serviceMicroseconds', 0],
    ['proxyMicroseconds', 0],
  ] as const;
  const rows = Object.entries(costs).map(([name, rounds]) => {
    const cells = columns.map(([key, digits]) =>
      (spread(rounds.map((round) => round[key]))?.median ?? Number.NaN).toFixed(digits),
    );
    return `| ${[name, ...cells].join(' | ')} |`;
  });
  const head = '| | p50 ms | p99 ms | CPU of the services, µs a request | CPU of the proxies, µs a request |';
  return [head, '|---|--:|--:|--:|--:|', ...rows].join('\n');
}
