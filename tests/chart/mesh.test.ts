import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { findCommand } from '../../scripts/lib/chart.ts';
import { services } from '../../scripts/lib/services.ts';
import { describeWithHelm, type Manifest, podSpecOf, type Rendered } from './lib/helm.ts';

const run = promisify(execFile);

type Mesh = 'istio' | 'linkerd';

const servers = { 'global.nats.type': 'bundled', 'global.valkey.type': 'bundled' };

/** Service accounts that the values of an ingress controller and of Prometheus in the mesh name. */
const inMesh = {
  'global.mesh.ingressFrom': [{ namespace: 'edge', name: 'edge-gateway' }],
  'global.mesh.metricsFrom': [{ namespace: 'monitoring', name: 'prometheus' }],
};

const istioctl = await findCommand('istioctl');

await describeWithHelm('service mesh', ({ render }) => {
  const renderWith = (mesh: Mesh, values: Record<string, unknown> = {}) =>
    render(
      { 'global.mesh.type': mesh, ...values },
      { args: ['--values', `charts/zerda/values-${mesh}.yaml`] },
    );

  it('is not used by default', async () => {
    const { all } = await render(servers);
    const kinds = all.filter(({ apiVersion }) => /istio\.io|linkerd\.io/.test(apiVersion));
    assert.deepEqual(kinds, []);
    for (const { metadata } of podTemplates(all))
      assert.doesNotMatch(JSON.stringify(metadata), /istio[^"]*":"true"|linkerd\.io\/inject":"enabled/);
  });

  for (const mesh of ['istio', 'linkerd'] as const)
    describe(mesh, () => {
      for (const [title, values] of Object.entries({ 'events over HTTP': {}, 'NATS and Valkey': servers }))
        it(`permits the same callers of each port as the network policies do, with ${title}`, async () => {
          const rendered = await renderWith(mesh, values);
          const permitted = mesh === 'istio' ? istioCallers(rendered) : linkerdCallers(rendered);
          assert.deepEqual(permitted, networkPolicyCallers(rendered));
          assert.ok(permitted.length > 6, permitted.join());
        });

      it('permits an ingress controller, Prometheus and helm test in the mesh by service account only', async () => {
        const rendered = await renderWith(mesh, inMesh);
        const permitted = mesh === 'istio' ? istioCallers(rendered) : linkerdCallers(rendered);
        assert.deepEqual(
          permitted.filter((line) => line.includes('any client')),
          [],
        );
        for (const { name } of services)
          assert.ok(permitted.includes(`monitoring/prometheus -> zerda-${name}:9090 GET /metrics`), name);
        assert.ok(permitted.includes('edge/edge-gateway -> zerda-gateway:8000'));
        assert.ok(permitted.includes('zerda/zerda-smoke-test -> zerda-gateway:8000'));
        assert.equal(rendered.get('Pod', 'zerda-smoke-test').spec.serviceAccountName, 'zerda-smoke-test');
        assert.ok(rendered.names('ServiceAccount').includes('zerda-smoke-test'));
      });

      it('permits no client, instead of any client, if a caller is not installed', async () => {
        const rendered = await renderWith(mesh, {
          ...inMesh,
          'order-service.enabled': false,
          'user-service.networkPolicy.allowFrom': ['order-service'],
        });
        const permitted = mesh === 'istio' ? istioCallers(rendered) : linkerdCallers(rendered);
        assert.deepEqual(
          permitted.filter((line) => line.includes('zerda-user-service:')),
          ['monitoring/prometheus -> zerda-user-service:9090 GET /metrics'],
        );
      });

      it('names the service accounts of the values', async () => {
        const rendered = await renderWith(mesh, { 'gateway.serviceAccount': { name: 'edge' } });
        const permitted = mesh === 'istio' ? istioCallers(rendered) : linkerdCallers(rendered);
        assert.ok(permitted.includes('zerda/edge -> zerda-user-service:8001'), permitted.join('\n'));
      });

      it('balances over the pods of a service itself', async () => {
        const rendered = await renderWith(mesh);
        for (const { data } of rendered.all.filter(({ kind }) => kind === 'ConfigMap')) {
          assert.doesNotMatch(JSON.stringify(data), /-headless/);
          if (data.USER_SERVICE_URL !== undefined) assert.ok(Number(data.UPSTREAM_CONNECTIONS) > 128);
        }
        assert.match(
          rendered.get('ConfigMap', 'zerda-gateway').data.USER_SERVICE_URL,
          /^http:\/\/zerda-user-service:8001$/,
        );
      });

      it('has the proxy of every pod start before and end after its programs, so that drain and migration use it', async () => {
        const rendered = await renderWith(mesh, servers);
        const pods = podTemplates(rendered.all);
        assert.equal(pods.length, 8);
        for (const { name, metadata, spec } of pods) {
          const { annotations, labels } = metadata;
          const seconds = spec.terminationGracePeriodSeconds ?? 5;
          if (mesh === 'istio') {
            assert.equal(labels['sidecar.istio.io/inject'], 'true', name);
            assert.equal(annotations['sidecar.istio.io/nativeSidecar'], 'true', name);
          } else {
            assert.equal(annotations['linkerd.io/inject'], 'enabled', name);
            assert.equal(annotations['config.beta.linkerd.io/proxy-enable-native-sidecar'], 'true', name);
            assert.equal(annotations['config.linkerd.io/shutdown-grace-period'], `${seconds}s`, name);
          }
        }
      });

      it('opens the network policies for the control plane only', async () => {
        const without = await render({ ...servers, 'global.mesh.type': 'none' });
        const rendered = await renderWith(mesh, servers);
        const { spec } = rendered.get('NetworkPolicy', 'zerda-mesh');
        const ports = (mesh === 'istio' ? [15012] : [8080, 8086, 8090]).map((port) => ({
          port,
          protocol: 'TCP',
        }));
        assert.deepEqual(spec.egress[1], {
          ports,
          to: [
            {
              namespaceSelector: {
                matchLabels: { 'kubernetes.io/metadata.name': mesh === 'istio' ? 'istio-system' : 'linkerd' },
              },
            },
          ],
        });
        assert.equal(without.names('NetworkPolicy').includes('zerda-mesh'), false);
        for (const name of without.names('NetworkPolicy'))
          assert.deepEqual(rendered.get('NetworkPolicy', name), without.get('NetworkPolicy', name), name);
      });

      it('declares the protocol of every port, with a value for each server that does not speak HTTP', async () => {
        const rendered = await renderWith(mesh, servers);
        const opaque = mesh === 'istio' ? 'tcp' : 'linkerd.io/opaque';
        const protocols = portsOf(rendered).map(({ name, appProtocol }) => `${name} ${appProtocol}`);
        assert.deepEqual([...new Set(protocols)].sort(), [
          'http http',
          'http-standard http',
          'management http',
          `nats ${opaque}`,
          `postgresql ${opaque}`,
          `valkey ${opaque}`,
        ]);
      });
    });

  it('labels the pods of a service with its version, for the metrics of Istio', async () => {
    const rendered = await renderWith('istio', { 'gateway.image.tag': '1.2.3' });
    const { labels } = rendered.get('Deployment', 'zerda-gateway').spec.template.metadata;
    assert.equal(labels.version, '1.2.3');
  });

  it('has Istio neither retry nor time out, because the callers do', async () => {
    const rendered = await renderWith('istio');
    assert.deepEqual(
      rendered.names('VirtualService').sort(),
      services.map(({ name }) => `zerda-${name}`).sort(),
    );
    for (const name of rendered.names('VirtualService')) {
      const { hosts, http } = rendered.get('VirtualService', name).spec;
      assert.deepEqual(hosts, [`${name}.zerda.svc.cluster.local`]);
      assert.deepEqual(
        http,
        portsOf(rendered, name).map(({ port }) => ({
          match: [{ port }],
          route: [{ destination: { host: hosts[0], port: { number: port } } }],
          retries: { attempts: 0 },
        })),
      );
    }
  });

  it('has Istio eject failing pods, but by default never more than half of them', async () => {
    const rendered = await renderWith('istio');
    assert.equal(rendered.names('DestinationRule').length, services.length);
    for (const name of rendered.names('DestinationRule')) {
      const { trafficPolicy } = rendered.get('DestinationRule', name).spec;
      assert.equal(trafficPolicy.tls.mode, 'ISTIO_MUTUAL');
      assert.equal(trafficPolicy.outlierDetection.maxEjectionPercent, 50);
      assert.equal(trafficPolicy.outlierDetection.consecutiveLocalOriginFailures, 3);
    }
  });

  it('shows a proxy of Istio only the Services that its pod may call', async () => {
    const rendered = await renderWith('istio', servers);
    const hostsOf = (name: string): string[] =>
      rendered
        .get('Sidecar', `zerda-${name}`)
        .spec.egress[0].hosts.map((host: string) =>
          host.replace(/^\.\/zerda-(.*)\.zerda\.svc\.cluster\.local$/, '$1'),
        );
    assert.deepEqual(hostsOf('gateway'), ['istio-system/*', 'order-service', 'user-service', 'valkey']);
    assert.deepEqual(hostsOf('user-service'), ['istio-system/*', 'nats', 'user-service-postgresql']);
    assert.deepEqual(hostsOf('order-service'), [
      'istio-system/*',
      'nats',
      'order-service-postgresql',
      'user-service',
    ]);
  });

  it('accepts only mutual TLS, except on ports with clients outside of the mesh', async () => {
    const modesWith = async (values: Record<string, unknown>) => {
      const { all } = await renderWith('istio', { ...servers, ...values });
      const policies = all.filter(({ kind }) => kind === 'PeerAuthentication');
      assert.ok(policies.every(({ spec }) => spec.mtls.mode === 'STRICT'));
      // Istio applies only the oldest policy that selects a pod.
      const selectors = policies.map(({ spec }) => JSON.stringify(sorted(spec.selector.matchLabels)));
      assert.equal(
        new Set(selectors).size,
        podTemplates(all).length - 1,
        'all pods except that of helm test',
      );
      return Object.fromEntries(
        policies
          .filter(({ spec }) => spec.portLevelMtls !== undefined)
          .map(({ metadata, spec }) => [metadata.name, spec.portLevelMtls]),
      );
    };
    assert.deepEqual(await modesWith({}), {
      'zerda-gateway': { 8000: { mode: 'PERMISSIVE' }, 9090: { mode: 'PERMISSIVE' } },
      'zerda-user-service': { 9090: { mode: 'PERMISSIVE' } },
      'zerda-order-service': { 9090: { mode: 'PERMISSIVE' } },
    });
    assert.deepEqual(await modesWith(inMesh), {});
  });

  it('needs a service account of its own for each service', async () => {
    await assert.rejects(
      renderWith('istio', { 'gateway.serviceAccount.create': false }),
      /gateway: a mesh identifies callers by service account, but default is also that of pods without/,
    );
    const same = { create: false, name: 'zerda' };
    await assert.rejects(
      renderWith('linkerd', { 'gateway.serviceAccount': same, 'user-service.serviceAccount': same }),
      /user-service: .* but zerda is also that of gateway\. Set user-service\.serviceAccount\.name/,
    );
  });

  it('is rejected for the service chart alone, which has no policies of a mesh', async () => {
    for (const type of ['istio', 'linkerd'])
      await assert.rejects(
        render({ 'global.mesh.type': type }, { chart: 'charts/zerda/charts/service' }),
        /only in the umbrella chart/,
      );
  });

  it('names the principals in the domain that Istio replaces by the trust domain, whatever the domain of the cluster', async () => {
    const rendered = await renderWith('istio', { 'global.mesh.clusterDomain': 'k8s.example' });
    const [rule] = rendered.get('AuthorizationPolicy', 'zerda-user-service').spec.rules;
    assert.deepEqual(rule.from[0].source.principals[0], 'cluster.local/ns/zerda/sa/zerda-gateway');
    const { host } = rendered.get('DestinationRule', 'zerda-user-service').spec;
    assert.equal(host, 'zerda-user-service.zerda.svc.k8s.example');
  });

  it('keeps labels and annotations of the values', async () => {
    const rendered = await renderWith('istio', {
      'gateway.podLabels': { version: 'blue' },
      'gateway.podAnnotations': { 'sidecar.istio.io/nativeSidecar': 'false' },
    });
    const { labels, annotations } = rendered.get('Deployment', 'zerda-gateway').spec.template.metadata;
    assert.equal(labels.version, 'blue');
    assert.equal(annotations['sidecar.istio.io/nativeSidecar'], 'false');
    assert.equal(annotations['prometheus.istio.io/merge-metrics'], 'false');
  });

  describe("rules of Linkerd's documentation", () => {
    // linkerd.io/2/common-errors/network-policy: calls between proxies arrive at port 4143.
    it('admits the ingress controller and Prometheus at the port of the proxies', async () => {
      const rendered = await renderWith('linkerd');
      const { ingress } = rendered.get('NetworkPolicy', 'zerda-mesh').spec;
      assert.deepEqual(ingress[0].ports, [{ port: 4143, protocol: 'TCP' }]);
      const { ingress: gateway } = rendered.get('NetworkPolicy', 'zerda-gateway').spec;
      const outside = gateway
        .flatMap(({ from }: Manifest) => from)
        .filter(({ namespaceSelector }: Manifest) => namespaceSelector !== undefined);
      assert.equal(outside.length, 2);
      for (const source of outside)
        assert.ok(ingress[0].from.some((peer: Manifest) => JSON.stringify(peer) === JSON.stringify(source)));
    });

    // linkerd.io/2/reference/authorization-policy: Servers must not select the same port of a pod twice; proxyProtocol.
    it('has one Server for each port, with its protocol', async () => {
      const rendered = await renderWith('linkerd', servers);
      const all = rendered.all.filter(({ kind }) => kind === 'Server').map(({ spec }) => spec);
      const ports = all.map(
        ({ podSelector, port }) => `${workloadOf(rendered, podSelector.matchLabels)}:${port}`,
      );
      assert.equal(new Set(ports).size, 10);
      assert.equal(ports.length, 10);
      for (const { proxyProtocol, port, accessPolicy } of all) {
        assert.equal(proxyProtocol, [4222, 5432, 6379].includes(port) ? 'opaque' : 'HTTP/1', String(port));
        assert.equal(accessPolicy, 'deny');
      }
    });

    // linkerd.io/2/tasks/configuring-per-route-policy: once a Server has a route, probes need a policy.
    it('permits probes on each Server with routes', async () => {
      const rendered = await renderWith('linkerd', servers);
      const routes = rendered.all.filter(({ kind }) => kind === 'HTTPRoute');
      const serverOf = ({ spec }: Manifest): string => spec.parentRefs[0].name;
      const probes = routes.filter(({ spec }) =>
        spec.rules[0].matches.some(({ path }: Manifest) => path.value === '/readyz'),
      );
      assert.deepEqual(probes.map(serverOf).sort(), [...new Set(routes.map(serverOf))].sort());
      for (const { metadata } of probes) {
        const policy = rendered.all.find(
          ({ kind, spec }) => kind === 'AuthorizationPolicy' && spec.targetRef.name === metadata.name,
        );
        assert.equal(policy.spec.requiredAuthenticationRefs[0].kind, 'NetworkAuthentication');
        const paths = routes
          .filter((route) => serverOf(route) === `${metadata.name.replace(/-\d+$/, '')}`)
          .flatMap(({ spec }) => spec.rules[0].matches.map(({ path }: Manifest) => path.value));
        assert.ok(paths.includes('/livez') && paths.includes('/metrics'), paths.join());
      }
    });

    // linkerd.io/2/tasks/graceful-shutdown: the grace period limits the drain of the proxy.
    it('lets the proxy drain longer than the service', async () => {
      const rendered = await renderWith('linkerd');
      const { metadata, spec } = rendered.get('Deployment', 'zerda-gateway').spec.template;
      const seconds = Number.parseInt(metadata.annotations['config.linkerd.io/shutdown-grace-period'], 10);
      const data = rendered.get('ConfigMap', 'zerda-gateway').data;
      const drain = spec.containers[0].lifecycle.preStop.sleep.seconds + Number(data.DRAIN_MS) / 1000;
      assert.ok(seconds > drain, `${seconds} s, ${drain} s`);
    });

    // linkerd.io/2/reference/retries, linkerd.io/2/reference/timeouts: there are none unless annotations ask for them.
    it('asks for no retries and no timeouts', async () => {
      const { all } = await renderWith('linkerd', servers);
      assert.doesNotMatch(JSON.stringify(all), /(retry|timeout)\.linkerd\.io/);
    });
  });

  for (const command of [['validate'], ['analyze', '--use-kube=false', '--all-namespaces']])
    it(`passes istioctl ${command[0]}`, {
      skip: istioctl === undefined && 'istioctl is not on the PATH',
    }, async (t) => {
      const folder = await mkdtemp(join(tmpdir(), 'zerda-mesh-'));
      t.after(() => rm(folder, { recursive: true, force: true }));
      for (const values of [servers, { ...servers, ...inMesh }]) {
        const { all } = await renderWith('istio', values);
        const namespaces = ['zerda', 'istio-system'].map((name) => ({
          apiVersion: 'v1',
          kind: 'Namespace',
          metadata: { name, ...(name === 'zerda' && { labels: { 'istio-injection': 'enabled' } }) },
        }));
        const file = join(folder, 'objects.yaml');
        await writeFile(file, [...namespaces, ...all].map((object) => `---\n${stringify(object)}`).join(''));
        const args = command[0] === 'validate' ? [...command, '-f', file] : [...command, file];
        // The result of both is in the error output, also if there is no error.
        const { stdout, stderr } = await run(istioctl ?? '', args);
        assert.match(stdout + stderr, / is valid|No validation issues found/);
        assert.doesNotMatch(stdout + stderr, /Error|Warning/);
      }
    });
});

/** Returns the pods and pod templates of the objects. */
function podTemplates(all: readonly Manifest[]): { name: string; metadata: Manifest; spec: Manifest }[] {
  return all
    .filter((object) => podSpecOf(object) !== undefined)
    .map((object) => ({
      name: object.metadata.name,
      metadata: object.kind === 'Pod' ? object.metadata : object.spec.template.metadata,
      spec: podSpecOf(object),
    }));
}

/** Returns the ports of the Services, or of one of them. */
function portsOf({ all }: Rendered, service?: string): { name: string; appProtocol: string; port: number }[] {
  return all
    .filter(({ kind, metadata }) => kind === 'Service' && (service ?? metadata.name) === metadata.name)
    .flatMap(({ spec }) => spec.ports);
}

/** Returns the name of the object whose pods have exactly these labels. */
function workloadOf({ all }: Rendered, labels: Manifest): string {
  const match = all.find(
    ({ spec }) =>
      spec?.template !== undefined &&
      JSON.stringify(sorted(spec.selector.matchLabels)) === JSON.stringify(sorted(labels)),
  );
  assert.ok(match, `no pods with ${JSON.stringify(labels)}`);
  return match.metadata.name;
}

function sorted(labels: Record<string, string>): [string, string][] {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Returns a line for each caller of a port: `namespace/account -> pods:port methods paths`. */
function lines(
  entries: Iterable<{ from: string; to: string; methods?: string[]; paths?: string[] }>,
): string[] {
  return [
    ...new Set(
      [...entries].map(({ from, to, methods = [], paths = [] }) =>
        [`${from} -> ${to}`, ...methods, ...paths].join(' '),
      ),
    ),
  ].sort();
}

/** Returns the callers that AuthorizationPolicies of Istio permit. */
function istioCallers(rendered: Rendered): string[] {
  const policies = rendered.all.filter(
    ({ kind, apiVersion }) => kind === 'AuthorizationPolicy' && apiVersion === 'security.istio.io/v1',
  );
  return lines(
    policies.flatMap(({ spec }) => {
      assert.equal(spec.action, 'ALLOW');
      const workload = workloadOf(rendered, spec.selector.matchLabels);
      return spec.rules.flatMap(({ from, to }: Manifest) =>
        (from?.[0].source.principals ?? ['any client']).map((principal: string) => {
          const { ports, methods, paths } = to[0].operation;
          return {
            from: principal.replace(/^cluster\.local\/ns\/([^/]+)\/sa\/(.+)$/, '$1/$2'),
            to: `${workload}:${ports[0]}`,
            methods,
            paths,
          };
        }),
      );
    }),
  );
}

/** Returns the callers that AuthorizationPolicies of Linkerd permit, except probes. */
function linkerdCallers(rendered: Rendered): string[] {
  const policies = rendered.all.filter(
    ({ kind, apiVersion }) => kind === 'AuthorizationPolicy' && apiVersion === 'policy.linkerd.io/v1alpha1',
  );
  return lines(
    policies.flatMap(({ spec }) => {
      const { targetRef, requiredAuthenticationRefs } = spec;
      const target = rendered.get(targetRef.kind, targetRef.name);
      const server =
        target.kind === 'Server' ? target : rendered.get('Server', target.spec.parentRefs[0].name);
      const workload = workloadOf(rendered, server.spec.podSelector.matchLabels);
      const matches: Manifest[] = target.kind === 'Server' ? [] : target.spec.rules[0].matches;
      const paths = [...new Set<string>(matches.map(({ path }) => path.value))];
      if (paths.includes('/livez')) return [];
      const [reference] = requiredAuthenticationRefs;
      const authentication = rendered.get(reference.kind, reference.name);
      const accounts: string[] = authentication.spec.identityRefs?.map(
        ({ namespace, name }: Manifest) => `${namespace}/${name}`,
      ) ?? ['any client'];
      return accounts.map((from) => ({
        from,
        to: `${workload}:${server.spec.port}`,
        methods: [...new Set<string>(matches.map(({ method }) => method))],
        paths,
      }));
    }),
  );
}

/** Paths of the management port, by caller: the network policies cannot tell them apart. */
const managementPaths: Readonly<Record<string, string>> = {
  'zerda-user-service -> zerda-order-service': 'POST /events',
  'zerda-order-service -> zerda-user-service': 'GET /user-ids',
};

/** Returns the callers that the NetworkPolicies permit; sources outside of the release are `any client`. */
function networkPolicyCallers(rendered: Rendered): string[] {
  const policies = rendered.all.filter(
    ({ kind, metadata, spec }) =>
      kind === 'NetworkPolicy' && spec.ingress !== undefined && !metadata.name.endsWith('-mesh'),
  );
  return lines(
    policies.flatMap(({ spec }) => {
      const workload = workloadOf(rendered, spec.podSelector.matchLabels);
      return spec.ingress.flatMap(({ ports, from }: Manifest) =>
        from.map(({ podSelector, namespaceSelector }: Manifest) => {
          const port = numberOf(rendered, workload, ports[0].port);
          const labels = podSelector?.matchLabels;
          const source =
            namespaceSelector === undefined
              ? `zerda/zerda-${labels['app.kubernetes.io/component'] === 'test' ? 'smoke-test' : labels['app.kubernetes.io/name']}`
              : 'any client';
          const rule =
            source === 'any client' ? 'GET /metrics' : managementPaths[`${source.slice(6)} -> ${workload}`];
          return {
            from: source,
            to: `${workload}:${port}`,
            ...(port === 9090 && rule !== undefined && { methods: [rule] }),
          };
        }),
      );
    }),
  );
}

function numberOf(rendered: Rendered, workload: string, port: string): number {
  const object = rendered.all.find(
    ({ metadata, spec }) => metadata.name === workload && spec?.template !== undefined,
  );
  const containers: Manifest[] = podSpecOf(object)?.containers ?? [];
  return containers.flatMap(({ ports }) => ports).find(({ name }) => name === port)?.containerPort;
}
