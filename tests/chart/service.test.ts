import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { versionOf } from '../../scripts/lib/services.ts';
import { describeWithHelm, type Manifest } from './lib/helm.ts';

await describeWithHelm('the service chart', ({ render }) => {
  const gateway = async (values: Record<string, unknown>, kind = 'Deployment'): Promise<Manifest> => {
    const valuesOfGateway = Object.fromEntries(
      Object.entries(values).map(([path, value]) => [`gateway.${path}`, value]),
    );
    return (await render(valuesOfGateway)).get(kind, 'zerda-gateway');
  };
  const podOf = async (values: Record<string, unknown>) => (await gateway(values)).spec.template.spec;
  const containerOf = async (values: Record<string, unknown>) => (await podOf(values)).containers[0];

  it('installs each of the three services unless it is disabled', async () => {
    assert.deepEqual((await render()).names('Deployment').sort(), [
      'zerda-gateway',
      'zerda-order-service',
      'zerda-user-service',
    ]);
    const withoutOrders = await render({ 'order-service.enabled': false });
    assert.deepEqual(withoutOrders.names('Deployment').sort(), ['zerda-gateway', 'zerda-user-service']);
    assert.deepEqual(withoutOrders.names('StatefulSet'), ['zerda-user-service-postgresql']);
  });

  it('installs alone with nameOverride', async () => {
    const { names } = await render(
      { nameOverride: 'user-service', 'database.type': 'bundled', 'ports.http': 8001 },
      { chart: 'charts/zerda/charts/service', release: 'users' },
    );
    assert.deepEqual(names('Deployment'), ['users-user-service']);
    assert.deepEqual(names('StatefulSet'), ['users-user-service-postgresql']);
    assert.deepEqual(names('Service').sort(), [
      'users-user-service',
      'users-user-service-headless',
      'users-user-service-postgresql',
    ]);
  });

  it('keeps names within 63 characters and uses the same name in peer URLs and Services', async () => {
    const release = 'a-release-with-a-name-as-long-as-helm-allows-them-53c';
    const rendered = await render({}, { release });
    // Only names of pods and Services have this limit.
    for (const { kind, metadata } of rendered.all) {
      if (/^(Service|Deployment|StatefulSet)$/.test(kind))
        assert.ok(metadata.name.length <= 52 + '-postgresql'.length, metadata.name);
    }
    const gatewayName = rendered.names('ConfigMap').find((name) => !/-(user|order)-serv/.test(name)) ?? '';
    const { data } = rendered.get('ConfigMap', gatewayName);
    const hosts = ['USER_SERVICE_URL', 'ORDER_SERVICE_URL'].map(
      (variable) => new URL(data[variable]).hostname,
    );
    for (const host of hosts) assert.ok(rendered.names('Service').includes(host), host);
    assert.equal(new Set(hosts).size, 2);
  });

  it('takes its image from the global or its own registry, by tag or digest', async () => {
    const image = async (values: Record<string, unknown>) =>
      (await render(values)).get('Deployment', 'zerda-gateway').spec.template.spec.containers[0].image;
    const digest = `sha256:${'a'.repeat(64)}`;
    assert.equal(await image({}), `zerda/gateway:${versionOf('gateway')}`);
    assert.equal(
      await image({ 'global.imageRegistry': 'r.example/x/', 'global.imageTag': '2' }),
      'r.example/x/zerda/gateway:2',
    );
    assert.equal(
      await image({ 'global.imageRegistry': 'r', 'gateway.image.registry': 'own', 'gateway.image.tag': '3' }),
      'own/zerda/gateway:3',
    );
    assert.equal(await image({ 'gateway.image.digest': digest }), `zerda/gateway@${digest}`);
    assert.equal(
      await image({ 'gateway.image.repository': 'local/x', 'gateway.image.digest': '' }),
      `local/x:${versionOf('gateway')}`,
    );
    await assert.rejects(image({ 'gateway.image.digest': 'sha256:short' }), /digest/);
    await assert.rejects(image({ 'gateway.image.tag': 'latest' }), /image\.tag=latest/);
  });

  it('sets replicas only without an autoscaler', async () => {
    assert.equal((await gateway({ replicas: 4 })).spec.replicas, 4);
    const scaled = { 'autoscaling.enabled': true, 'autoscaling.memoryPercent': 75 };
    assert.equal('replicas' in (await gateway(scaled)).spec, false);
    const { spec } = await gateway(scaled, 'HorizontalPodAutoscaler');
    assert.deepEqual([spec.minReplicas, spec.maxReplicas], [2, 6]);
    assert.deepEqual(
      spec.metrics.map(({ resource }: Manifest) => [resource.name, resource.target.averageUtilization]),
      [
        ['cpu', 70],
        ['memory', 75],
      ],
    );
    assert.equal(spec.behavior.scaleDown.stabilizationWindowSeconds, 300);
    await assert.rejects(gateway({ ...scaled, 'autoscaling.minReplicas': 9 }), /minReplicas is above/);
    await assert.rejects(
      gateway({ 'autoscaling.enabled': true, 'autoscaling.cpuPercent': 0 }),
      /needs a metric/,
    );
  });

  it('has a PodDisruptionBudget with two pods or more, with or without an autoscaler', async () => {
    const { spec } = await gateway({}, 'PodDisruptionBudget');
    assert.deepEqual([spec.maxUnavailable, spec.unhealthyPodEvictionPolicy], [1, 'AlwaysAllow']);
    const scaled = { 'gateway.replicas': 1, 'gateway.autoscaling.enabled': true };
    assert.ok((await render(scaled)).names('PodDisruptionBudget').includes('zerda-gateway'));
    for (const values of [{ 'gateway.replicas': 1 }, { 'gateway.podDisruptionBudget.enabled': false }])
      assert.ok(!(await render(values)).names('PodDisruptionBudget').includes('zerda-gateway'));
    const withMinAvailable = await gateway(
      { 'podDisruptionBudget.maxUnavailable': '', 'podDisruptionBudget.minAvailable': '50%' },
      'PodDisruptionBudget',
    );
    assert.equal(withMinAvailable.spec.minAvailable, '50%');
    assert.equal('maxUnavailable' in withMinAvailable.spec, false);
    await assert.rejects(gateway({ 'podDisruptionBudget.minAvailable': 1 }), /needs exactly one of/);
    await assert.rejects(gateway({ 'podDisruptionBudget.maxUnavailable': '' }), /needs exactly one of/);
  });

  it('drains before shutdown, with a grace period that is long enough', async () => {
    const pod = await podOf({});
    assert.deepEqual(pod.containers[0].lifecycle, { preStop: { sleep: { seconds: 5 } } });
    assert.equal(pod.terminationGracePeriodSeconds, 5 + 35 + 10 + 5);
    const { data } = await gateway(
      { 'shutdown.drainSeconds': 7, 'shutdown.deadlineSeconds': 3 },
      'ConfigMap',
    );
    assert.deepEqual([data.DRAIN_MS, data.SHUTDOWN_DEADLINE_MS], ['7000', '3000']);
    assert.equal('lifecycle' in (await containerOf({ 'shutdown.preStopSeconds': 0 })), false);
    assert.equal((await podOf({ 'shutdown.gracePeriodSeconds': 90 })).terminationGracePeriodSeconds, 90);
    await assert.rejects(podOf({ 'shutdown.gracePeriodSeconds': 50 }), /must be above .* = 50/);
  });

  it('has startup, liveness and readiness probes on the management port', async () => {
    const { startupProbe, livenessProbe, readinessProbe, ports } = await containerOf({
      'probes.readiness.periodSeconds': 9,
    });
    assert.deepEqual(startupProbe.httpGet, { path: '/livez', port: 'management' });
    assert.deepEqual(livenessProbe.httpGet, { path: '/livez', port: 'management' });
    assert.deepEqual(readinessProbe.httpGet, { path: '/readyz', port: 'management' });
    assert.equal(readinessProbe.periodSeconds, 9);
    assert.deepEqual(
      ports.map(({ name, containerPort }: Manifest) => [name, containerPort]),
      [
        ['http', 8000],
        ['management', 9090],
      ],
    );
  });

  it('keeps the heap below the memory limit', async () => {
    const option = async (values: Record<string, unknown>) =>
      (await containerOf(values)).env?.find(({ name }: Manifest) => name === 'NODE_OPTIONS')?.value;
    assert.equal(await option({}), '--max-old-space-size=153 --max-semi-space-size=8');
    for (const [limit, flags] of [
      ['16M', '--max-old-space-size=9 --max-semi-space-size=1'],
      ['1Gi', '--max-old-space-size=614 --max-semi-space-size=16'],
    ])
      assert.equal(await option({ 'resources.limits.memory': limit }), flags);
    assert.equal(await option({ heapPercent: 0 }), undefined);
    assert.equal(await option({ 'resources.limits.memory': null }), undefined);
    assert.equal('cpu' in (await containerOf({})).resources.limits, false);
  });

  it('sets text variables in the ConfigMap and references in the pod, and restarts pods on a change', async () => {
    const env = {
      LOG_LEVEL: 'warn',
      CALLBACK: 'https://{{ .Release.Name }}.example',
      NODE_NAME: { valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
    };
    const { data } = await gateway({ env }, 'ConfigMap');
    assert.deepEqual(
      [data.LOG_LEVEL, data.CALLBACK, data.NODE_NAME],
      ['warn', 'https://zerda.example', undefined],
    );
    const container = await containerOf({ env, envFrom: [{ secretRef: { name: 'more' } }] });
    assert.deepEqual(container.envFrom, [
      { configMapRef: { name: 'zerda-gateway' } },
      { secretRef: { name: 'more' } },
    ]);
    assert.deepEqual(
      container.env.find(({ name }: Manifest) => name === 'NODE_NAME').valueFrom,
      env.NODE_NAME.valueFrom,
    );
    const checksum = async (values: Record<string, unknown>) =>
      (await gateway(values)).spec.template.metadata.annotations['checksum/configuration'];
    assert.notEqual(await checksum({ env }), await checksum({}));
    assert.equal(await checksum({ env }), await checksum({ env }));
    await assert.rejects(gateway({ env: { PORT: '1' } }), /env\.PORT is set by the chart/);
    await assert.rejects(gateway({ env: { LIST: ['1'] } }), /LIST|env/);
    await assert.rejects(gateway({ env: { 'no-name': 'x' } }), /no-name|env/);
  });

  it('is discovered by Prometheus either by annotations or by a ServiceMonitor', async () => {
    const annotations = async (values: Record<string, unknown>) =>
      Object.keys((await gateway(values)).spec.template.metadata.annotations).filter((name) =>
        name.startsWith('prometheus.io/'),
      );
    assert.equal((await annotations({})).length, 3);
    assert.equal((await annotations({ 'metrics.annotations': false })).length, 0);
    const monitored = {
      'metrics.serviceMonitor.enabled': true,
      'metrics.serviceMonitor.labels': { release: 'kps' },
    };
    assert.equal((await annotations(monitored)).length, 0);
    const rendered = await render({ 'gateway.metrics.serviceMonitor.enabled': true });
    const { spec, metadata } = await gateway(monitored, 'ServiceMonitor');
    assert.equal(metadata.labels.release, 'kps');
    assert.equal(spec.endpoints[0].port, 'management');
    // The label `job` of all series, by which rules and dashboards select services.
    assert.equal(spec.jobLabel, 'app.kubernetes.io/name');
    assert.equal(metadata.labels['app.kubernetes.io/name'], 'gateway');
    const matching = rendered.all.filter(
      ({ kind, metadata: { labels } }) =>
        kind === 'Service' &&
        Object.entries(spec.selector.matchLabels).every(([label, value]) => labels[label] === value),
    );
    assert.deepEqual(
      matching.map(({ metadata: { name } }) => name),
      ['zerda-gateway-headless'],
    );
    assert.ok(matching[0].spec.ports.some(({ name }: Manifest) => name === 'management'));
  });

  it('is exposed by Ingress or HTTPRoute, without its management port', async () => {
    const { spec } = await gateway(
      {
        'ingress.className': 'traefik',
        'ingress.hosts': ['a.example', ''],
        'ingress.tls': [{ secretName: 't', hosts: ['a.example'] }],
      },
      'Ingress',
    );
    assert.equal(spec.ingressClassName, 'traefik');
    assert.deepEqual(
      spec.rules.map(({ host }: Manifest) => host),
      ['a.example', undefined],
    );
    assert.equal(spec.tls[0].secretName, 't');
    assert.equal('ingressClassName' in (await gateway({}, 'Ingress')).spec, false);
    const httpRouteValues = {
      'gateway.ingress.enabled': false,
      'gateway.httpRoute.enabled': true,
      'gateway.httpRoute.parentRefs': [{ name: 'edge', namespace: 'edge' }],
      'gateway.httpRoute.hostnames': ['b.example'],
      'gateway.httpRoute.timeouts': { request: '15s' },
    };
    const routed = await render(httpRouteValues);
    assert.deepEqual(routed.names('Ingress'), []);
    const route = routed.get('HTTPRoute', 'zerda-gateway').spec;
    assert.deepEqual(route.parentRefs, [{ name: 'edge', namespace: 'edge' }]);
    assert.deepEqual(route.rules[0].backendRefs, [{ name: 'zerda-gateway', port: 8000 }]);
    assert.deepEqual(route.rules[0].timeouts, { request: '15s' });
    await assert.rejects(render({ 'gateway.httpRoute.enabled': true }), /needs httpRoute\.parentRefs/);

    const everywhere = await render({
      'user-service.ingress.enabled': true,
      'order-service.ingress.enabled': true,
    });
    assert.equal(everywhere.names('Ingress').length, 3);
    for (const object of everywhere.all.filter(({ kind }) => kind === 'Ingress'))
      assert.equal(object.spec.rules[0].http.paths[0].backend.service.port.name, 'http');
  });

  it('spreads its pods by the labels of the service unless a constraint has its own', async () => {
    const constraint = {
      maxSkew: 2,
      topologyKey: 'k',
      whenUnsatisfiable: 'DoNotSchedule',
      labelSelector: { matchLabels: { a: 'b' } },
    };
    const [standard] = (await podOf({})).topologySpreadConstraints;
    assert.deepEqual(standard.labelSelector.matchLabels, (await gateway({})).spec.selector.matchLabels);
    assert.deepEqual(standard.matchLabelKeys, ['pod-template-hash']);
    assert.deepEqual((await podOf({ topologySpreadConstraints: [constraint] })).topologySpreadConstraints, [
      constraint,
    ]);
    assert.equal('topologySpreadConstraints' in (await podOf({ topologySpreadConstraints: [] })), false);
  });

  it('passes pod settings to the pods', async () => {
    const values = {
      podLabels: { tier: 'edge' },
      podAnnotations: { note: 'x' },
      nodeSelector: { disk: 'ssd' },
      tolerations: [{ key: 'spot' }],
      affinity: { podAffinity: {} },
      priorityClassName: 'high',
      runtimeClassName: 'gvisor',
      extraVolumes: [{ name: 'more', emptyDir: {} }],
      extraVolumeMounts: [{ name: 'more', mountPath: '/more' }],
      extraInitContainers: [{ name: 'first', image: 'x:1' }],
      extraContainers: [{ name: 'beside', image: 'x:1' }],
      nodeArgs: ['--watch'],
      entrypoint: 'src/main.ts',
      'rollout.maxSurge': '25%',
      'serviceAccount.name': 'own',
      'service.trafficDistribution': 'PreferClose',
    };
    const { spec } = await gateway(values);
    const { metadata, spec: pod } = spec.template;
    assert.equal(metadata.labels.tier, 'edge');
    assert.equal(metadata.annotations.note, 'x');
    assert.equal(spec.strategy.rollingUpdate.maxSurge, '25%');
    for (const name of [
      'nodeSelector',
      'tolerations',
      'affinity',
      'priorityClassName',
      'runtimeClassName',
    ] as const)
      assert.deepEqual(pod[name], values[name]);
    assert.deepEqual(pod.volumes.at(-1), values.extraVolumes[0]);
    assert.deepEqual(pod.containers[0].volumeMounts.at(-1), values.extraVolumeMounts[0]);
    assert.deepEqual(pod.containers[0].args, ['--watch', 'src/main.ts']);
    assert.equal(pod.containers[1].name, 'beside');
    assert.equal(pod.initContainers[0].name, 'first');
    assert.equal(pod.serviceAccountName, 'own');
    assert.equal((await gateway(values, 'Service')).spec.trafficDistribution, 'PreferClose');
    const withoutAccount = await podOf({ 'serviceAccount.create': false });
    assert.equal(withoutAccount.serviceAccountName, 'default');
  });

  describe('trusted proxies', () => {
    const proxiesOf = async (values: Record<string, unknown> = {}, service = 'gateway') => {
      const { data } = (await render(values)).get('ConfigMap', `zerda-${service}`);
      return [data.TRUSTED_PROXY_HOPS, data.TRUSTED_PROXIES];
    };

    it('are one by default with an Ingress or HTTPRoute, otherwise none', async () => {
      assert.deepEqual(await proxiesOf(), ['1', undefined]);
      const route = { 'gateway.httpRoute': { enabled: true, parentRefs: [{ name: 'edge' }] } };
      assert.deepEqual(await proxiesOf({ 'gateway.ingress.enabled': false, ...route }), ['1', undefined]);
      assert.deepEqual(await proxiesOf({ 'gateway.ingress.enabled': false }), [undefined, undefined]);
      assert.deepEqual(await proxiesOf({ 'gateway.trustedProxyHops': null }), ['1', undefined]);
    });

    it('are as many as trustedProxyHops, also with an Ingress', async () => {
      assert.deepEqual(await proxiesOf({ 'gateway.trustedProxyHops': 2 }), ['2', undefined]);
      assert.deepEqual(await proxiesOf({ 'gateway.trustedProxyHops': 0 }), [undefined, undefined]);
    });

    it('are the addresses of trustedProxies instead of a number', async () => {
      const trustedProxies = ['10.244.0.0/16', '192.0.2.7'];
      const addresses = '10.244.0.0/16,192.0.2.7';
      assert.deepEqual(await proxiesOf({ 'gateway.trustedProxies': trustedProxies }), [undefined, addresses]);
      assert.deepEqual(
        await proxiesOf({ 'gateway.trustedProxies': trustedProxies, 'gateway.trustedProxyHops': 0 }),
        [undefined, addresses],
      );
    });

    it('are one for user-service, independent of proxies in front of the gateway', async () => {
      for (const values of [
        {},
        { 'gateway.trustedProxyHops': 3 },
        { 'gateway.ingress.enabled': false },
        { 'gateway.trustedProxies': ['10.244.0.0/16'] },
      ])
        assert.deepEqual(await proxiesOf(values, 'user-service'), ['1', undefined]);
    });

    it('are rejected when both number and addresses are set, or the number is invalid', async () => {
      for (const [service, hops] of [
        ['gateway', { 'gateway.trustedProxyHops': 1 }],
        ['user-service', {}],
      ] as const)
        await assert.rejects(
          proxiesOf({ [`${service}.trustedProxies`]: ['10.244.0.0/16'], ...hops }),
          new RegExp(`${service}: trustedProxies and trustedProxyHops are both set`),
        );
      for (const value of [-1, 17, 1.5, '1', 'one'])
        await assert.rejects(
          proxiesOf({ 'gateway.trustedProxyHops': value }),
          /trustedProxyHops/,
          String(value),
        );
    });
  });

  it('rejects environment variables that other values set', async () => {
    for (const name of ['PORT', 'NATS_URL', 'VALKEY_URL', 'TRUSTED_PROXIES', 'TRUSTED_PROXY_HOPS'])
      await assert.rejects(
        gateway({ [`env.${name}`]: 'x' }),
        new RegExp(`env\\.${name} is set by the chart`),
      );
  });

  it('rejects unknown values and names the service', async () => {
    await assert.rejects(render({ 'user-service.replica': 3 }), /user-service[\s\S]*replica/);
    await assert.rejects(render({ 'gateway.shutdown.drain': 3 }), /drain/);
    await assert.rejects(render({ gatway: {} }), /gatway/);
  });
});
