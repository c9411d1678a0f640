import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { type HttpRequest, type HttpResponse, sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { forwardPort, type PortForward } from '../../scripts/lib/cluster.ts';
import { services } from '../../scripts/lib/services.ts';
import { secretValue } from './lib/databases.ts';
import { evaluateIn } from './lib/debugger.ts';
import { setMetricsFrom, setValue } from './lib/helm-values.ts';
import { readInstallation } from './lib/installation.ts';
import { get, kubectl } from './lib/kubectl.ts';
import { startMonitoringPod } from './lib/monitoring-pod.ts';
import { imageOf } from './lib/probe.ts';
import { waitForRollouts } from './lib/rollouts.ts';
import { type SpanCollector, spanEndpoint, startSpanCollector } from './lib/span-collector.ts';
import { installRelease, type TestRelease } from './lib/test-release.ts';

const run = promisify(execFile);
const installation = readInstallation();
const namespace = `${installation.namespace}-alerts`;
const { monitoring } = installation;
const hostName = `alerts.${installation.namespace}.e2e.example`;
const admin = 'admin@example.com';
const spanCollector = { name: 'alerts-collector', namespace: monitoring };

/** Labels of the pods of order-service. */
const orderPods = 'app.kubernetes.io/name=order-service,app.kubernetes.io/component=service';

/** Milliseconds within which an alert fires after its fault, and ends after it is mended. */
const fireMs = 180_000;
const resolveMs = 240_000;

/** Windows and thresholds that suit a scrape a second. The faults are real; only the times are shorter than in production. */
const shortTimes = {
  'monitoring.rules.enabled': true,
  'monitoring.rules.interval': '1s',
  'monitoring.slo.rateWindow': '10s',
  'monitoring.slo.period': '10m',
  'monitoring.slo.burnRates': [
    { long: '40s', short: '10s', factor: 14.4, severity: 'page' },
    { long: '1m', short: '15s', factor: 6, severity: 'page' },
    { long: '90s', short: '20s', factor: 3, severity: 'ticket' },
    { long: '2m', short: '30s', factor: 1, severity: 'ticket' },
  ],
  'monitoring.alerts.for': '3s',
  'monitoring.alerts.window': '15s',
  'monitoring.alerts.restartWindow': '2m',
  'monitoring.alerts.outboxAgeSeconds': 10,
  'monitoring.alerts.relayStuckSeconds': 10,
  'monitoring.alerts.memoryPercent': 70,
  'monitoring.alerts.jwksAgeSeconds': 30,
} as const;

interface Fault {
  /** The alerts that the fault causes. Others may fire as well. */
  readonly alerts: readonly string[];
  inject(): Promise<unknown>;
  mend(): Promise<unknown>;
}

describe('alerts on a cluster', () => {
  let testRelease: TestRelease;
  let password: string;
  let collector: SpanCollector;
  let prometheus: PortForward;
  let alertmanager: PortForward;
  let token = '';
  let load: { stop(): Promise<void> };

  before(async () => {
    const quick = { preStopSeconds: 0, drainSeconds: 1, deadlineSeconds: 5 };
    testRelease = await installRelease({
      namespace,
      release: 'zerda',
      options: [
        ...installation.images,
        ...setValue('global.valkey.type', 'bundled'),
        ...setValue('global.tracing.endpoint', spanEndpoint(spanCollector)),
        ...setValue('global.tracing.protocol', 'http/json'),
        ...setValue('global.tracing.ratio', 1),
        ...setValue('gateway.ingress.hosts', [hostName]),
        ...services.flatMap(({ name }) => [
          ...setValue(`${name}.replicas`, 1),
          ...setValue(`${name}.shutdown`, quick),
          ...setValue(`${name}.env`, { OTEL_EXPORTER_OTLP_TIMEOUT: '2000' }),
        ]),
        ...setMetricsFrom(monitoring),
      ],
    });
    const image = await imageOf(namespace, 'zerda-gateway');
    collector = await startSpanCollector({ ...spanCollector, image });
    password = await secretValue(namespace, 'zerda-auth', 'admin-password');
    alertmanager = await startMonitoringPod({
      name: 'alertmanager',
      namespace: monitoring,
      image: installation.alertmanagerImage,
      args: [
        '--config.file=/etc/monitoring/alertmanager.yml',
        '--storage.path=/data',
        '--cluster.listen-address=',
      ],
      port: 9093,
      files: {
        'alertmanager.yml': JSON.stringify({ route: { receiver: 'none' }, receivers: [{ name: 'none' }] }),
      },
    });
    prometheus = await startMonitoringPod({
      name: 'alerting-prometheus',
      namespace: monitoring,
      image: installation.prometheusImage,
      args: ['--config.file=/etc/monitoring/prometheus.yml', '--storage.tsdb.path=/data'],
      port: 9090,
      // JSON is valid YAML.
      files: {
        'prometheus.yml': JSON.stringify(prometheusConfiguration()),
        'rules.yml': JSON.stringify(await renderRules()),
      },
    });
    await eventually(
      async () => assert.equal((await send('/api/orders', { token: await freshToken() })).status, 200),
      'an order list for the admin',
      60_000,
    );
    load = startLoad();
  });

  after(async () => {
    await load?.stop();
    await Promise.all([prometheus?.stop(), alertmanager?.stop(), collector?.stop()]);
    await testRelease?.remove();
  });

  function prometheusConfiguration(): unknown {
    return {
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      rule_files: ['/etc/monitoring/rules.yml'],
      alerting: { alertmanagers: [{ static_configs: [{ targets: ['alertmanager:9093'] }] }] },
      scrape_configs: services.map(({ name }) => ({
        job_name: name,
        dns_sd_configs: [
          {
            names: [`zerda-${name}-headless.${namespace}.svc.cluster.local`],
            type: 'A',
            port: 9090,
            refresh_interval: '2s',
          },
        ],
        relabel_configs: [
          { target_label: 'namespace', replacement: namespace },
          { source_labels: ['__address__'], target_label: 'pod' },
        ],
      })),
    };
  }

  /** Returns the rules of the chart for this namespace, with short times. */
  async function renderRules(): Promise<unknown> {
    const values = Object.entries(shortTimes).flatMap(([path, value]) => [
      '--set-json',
      `${path}=${JSON.stringify(value)}`,
    ]);
    const { stdout } = await run('helm', [
      ...['template', 'zerda', 'charts/zerda', '--namespace', namespace],
      ...['--values', 'charts/zerda/values-gitops.yaml'],
      ...['--show-only', 'templates/prometheusrule.yaml', ...values],
    ]);
    return parse(stdout).spec;
  }

  /** Returns the names of the active alerts in Alertmanager. */
  async function activeAlerts(): Promise<string[]> {
    const { body } = await sendRequest(`${alertmanager.url}/api/v2/alerts?active=true`);
    return body.map(({ labels }: { labels: { alertname: string } }) => labels.alertname);
  }

  function send(path: string, { headers, ...options }: HttpRequest = {}): Promise<HttpResponse> {
    return sendRequest(`http://${installation.ingress}${path}`, {
      ...options,
      headers: { ...headers, host: hostName },
    });
  }

  async function freshToken(): Promise<string> {
    const json = { email: admin, password };
    const { status, body, text } = await send('/api/auth/login', { method: 'POST', json });
    assert.equal(status, 200, text);
    token = body.data.access_token;
    return token;
  }

  /** Reads orders ten times a second, however long the responses take. A rejected token is replaced. */
  function startLoad(): { stop(): Promise<void> } {
    const pending = new Set<Promise<void>>();
    const timer = setInterval(() => {
      const request = send('/api/orders?limit=1', { token })
        .then(async ({ status }) => {
          if (status === 401) await freshToken();
        })
        // Requests fail during faults.
        .catch(() => undefined)
        .finally(() => pending.delete(request));
      pending.add(request);
    }, 100);
    return {
      async stop() {
        clearInterval(timer);
        await Promise.all(pending);
      },
    };
  }

  /** Runs `work` repeatedly in a number of loops until `stop`. Errors are expected during a fault. */
  function repeat(loops: number, pauseMs: number, work: () => Promise<unknown>): { stop(): Promise<void> } {
    let running = true;
    const ended = Promise.all(
      Array.from({ length: loops }, async () => {
        while (running) {
          await work().catch(() => undefined);
          await wait(pauseMs);
        }
      }),
    );
    return {
      async stop() {
        running = false;
        await ended;
      },
    };
  }

  const scale = (target: string, replicas: number) =>
    kubectl(['scale', '--namespace', namespace, target, `--replicas=${replicas}`]);
  const psql = (service: 'user-service' | 'order-service', user: string, statement: string) =>
    kubectl([
      ...['exec', '--namespace', namespace, `zerda-${service}-postgresql-0`, '--'],
      ...['psql', '--username', user, '--command', statement],
    ]);
  const command = (service: string, ...args: string[]) =>
    kubectl([
      ...['exec', '--namespace', namespace, `deployment/zerda-${service}`, '--'],
      ...['/nodejs/bin/node', 'bin/main.mjs', ...args],
    ]);

  let background: { stop(): Promise<void> } | undefined;
  const stopBackground = async (): Promise<void> => {
    await background?.stop();
    background = undefined;
  };

  /** Faults with the alerts that they cause. Together they cause every alert. The order lets each begin in a healthy system. */
  const faults: Readonly<Record<string, Fault>> = {
    'order-service has no pod': {
      alerts: [
        'ZerdaServiceDown',
        'ZerdaUpstreamWithoutAddress',
        'ZerdaCircuitOpen',
        'ZerdaAvailabilityBudgetBurn',
        'ZerdaOutboxDelayed',
      ],
      async inject() {
        await scale('deployment/zerda-order-service', 0);
        // Its last pod would still receive the event.
        await kubectl([
          ...['wait', 'pod', '--selector', orderPods, '--namespace', namespace],
          ...['--for=delete', '--timeout=60s'],
        ]);
        const json = { name: 'A user', email: 'user@example.com' };
        const { status, text } = await send('/api/users', {
          method: 'POST',
          json,
          token: await freshToken(),
        });
        assert.equal(status, 201, text);
      },
      mend: () => scale('deployment/zerda-order-service', 1),
    },
    'the database of order-service has no pod': {
      alerts: ['ZerdaRelayStuck'],
      inject: () => scale('statefulset/zerda-order-service-postgresql', 0),
      async mend() {
        const database = 'statefulset/zerda-order-service-postgresql';
        await scale(database, 1);
        await kubectl(['rollout', 'status', database, '--namespace', namespace, '--timeout=120s']);
      },
    },
    'an event is a dead letter': {
      alerts: ['ZerdaDeadLetters'],
      inject: () =>
        psql(
          'order-service',
          'orders',
          "insert into dead_letters (side, event_id, type, subject, event, error, attempts) values ('receiving', 'e2e', 'zerda.user.created.v1', 'users/1', '{}', 'a test', 1)",
        ),
      mend: () => command('order-service', 'events', 'dead-letters', 'discard', 'e2e'),
    },
    'a session locks the table of orders': {
      alerts: ['ZerdaPoolExhausted', 'ZerdaLatencyBudgetBurn'],
      async inject() {
        const lock = psql(
          'order-service',
          'orders',
          'begin; lock table orders in access exclusive mode; select pg_sleep(300)',
        ).catch(() => undefined);
        // Without the gateway, whose circuit would open.
        const forward = await forwardPort(namespace, 'zerda-order-service', { local: 0, remote: 8002 });
        const readers = repeat(30, 10, () => sendRequest(`${forward.url}/api/orders`, { token }));
        background = {
          async stop() {
            await readers.stop();
            await forward.stop();
            await lock;
          },
        };
      },
      async mend() {
        await psql(
          'order-service',
          'orders',
          "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(300)%' and pid <> pg_backend_pid()",
        );
        await stopBackground();
      },
    },
    'code blocks the event loop of the gateway': {
      alerts: ['ZerdaEventLoopLate'],
      inject: () =>
        evaluateIn(
          namespace,
          'zerda-gateway',
          'globalThis.blocking = setInterval(() => { const end = Date.now() + 400; while (Date.now() < end); }, 600)',
        ),
      mend: () => evaluateIn(namespace, 'zerda-gateway', 'clearInterval(globalThis.blocking)'),
    },
    'the gateway uses most of its memory': {
      alerts: ['ZerdaMemoryNearLimit'],
      inject: () =>
        evaluateIn(
          namespace,
          'zerda-gateway',
          `globalThis.held = [];
          while (process.memoryUsage.rss() < 0.75 * process.constrainedMemory()) globalThis.held.push(Buffer.alloc(4 << 20, 1));`,
        ),
      mend: () => evaluateIn(namespace, 'zerda-gateway', 'globalThis.held = undefined'),
    },
    'the process of order-service ends twice': {
      alerts: ['ZerdaRestarts'],
      async inject() {
        for (const restarts of [1, 2]) {
          await evaluateIn(namespace, 'zerda-order-service', 'setTimeout(() => process.exit(1), 200)');
          await eventually(
            async () => {
              const { items } = await get(namespace, 'pods', '--selector', orderPods);
              const [container] = items[0].status.containerStatuses;
              assert.ok(container.restartCount >= restarts && container.ready);
            },
            `restart ${restarts}`,
            90_000,
          );
        }
      },
      mend: async () => undefined,
    },
    'clients try passwords': {
      alerts: ['ZerdaLoginFlood'],
      async inject() {
        let serial = 0;
        background = repeat(2, 200, () => {
          serial += 1;
          const json = { email: `unknown-${serial}@example.com`, password: 'a wrong password' };
          return send('/api/auth/login', { method: 'POST', json });
        });
      },
      mend: stopBackground,
    },
    'Valkey has no pod': {
      alerts: ['ZerdaValkeyUnavailable'],
      inject: () => scale('deployment/zerda-valkey', 0),
      mend: () => scale('deployment/zerda-valkey', 1),
    },
    'the collector of spans has no pod': {
      alerts: ['ZerdaSpansDropped'],
      inject: () => collector.stop(),
      mend: () => collector.start(),
    },
    'user-service, the issuer, has no pod': {
      alerts: ['ZerdaJwksStale'],
      async inject() {
        const [, payload, signature] = (await freshToken()).split('.');
        await scale('deployment/zerda-user-service', 0);
        const header = (kid: number) =>
          Buffer.from(JSON.stringify({ alg: 'EdDSA', typ: 'at+jwt', kid: `unknown-${kid}` })).toString(
            'base64url',
          );
        let serial = 0;
        background = repeat(1, 1000, () => {
          serial += 1;
          return send('/api/orders', { token: `${header(serial)}.${payload}.${signature}` });
        });
      },
      async mend() {
        await stopBackground();
        await scale('deployment/zerda-user-service', 1);
      },
    },
    'the signing key is old': {
      alerts: ['ZerdaSigningKeyOld'],
      inject: () =>
        psql('user-service', 'users', "update signing_keys set signs_from = now() - interval '100 days'"),
      mend: () => command('user-service', 'keys', 'rotate', '--now'),
    },
  };

  it('do not fire in a healthy system', async () => {
    await eventually(async () => assert.deepEqual(await activeAlerts(), []), 'no active alert', resolveMs);
  });

  it('have a fault each', async () => {
    const { body } = await sendRequest(`${prometheus.url}/api/v1/rules?type=alert`);
    const names: string[] = body.data.groups.flatMap(({ rules }: { rules: { name: string }[] }) =>
      rules.map(({ name }) => name),
    );
    const caused = Object.values(faults).flatMap(({ alerts }) => alerts);
    assert.deepEqual([...new Set(names)].sort(), caused.sort());
  });

  /** Waits until none of these alerts is active. */
  const untilInactive = (alerts: readonly string[], what: string) =>
    eventually(
      async () => {
        const active = await activeAlerts();
        assert.deepEqual(
          alerts.filter((name) => active.includes(name)),
          [],
        );
      },
      what,
      resolveMs,
    );

  // The alerts of a fault may end during the next faults, whose alerts are others. This saves the time in which they end.
  for (const [title, { alerts, inject, mend }] of Object.entries(faults)) {
    it(`fire while ${title}: ${alerts.join(', ')}`, async () => {
      await untilInactive(alerts, `the end of earlier alerts before ${title}`);
      try {
        await inject();
        const fired = new Set<string>();
        await eventually(
          async () => {
            for (const name of await activeAlerts()) fired.add(name);
            assert.deepEqual(
              alerts.filter((name) => !fired.has(name)),
              [],
            );
          },
          `alerts while ${title}`,
          fireMs,
        );
      } finally {
        await mend();
        await waitForRollouts(namespace);
      }
    });
  }

  it('end when their faults are mended', async () => {
    await untilInactive(
      Object.values(faults).flatMap(({ alerts }) => alerts),
      'the end of all alerts',
    );
  });
});
