import assert from 'node:assert/strict';
import { it } from 'node:test';
import { allDashboards } from '../../scripts/dashboards/dashboards.ts';
import { describeWithPromtool, runPromtool } from '../monitoring/lib/promtool.ts';
import { describeWithHelm, type Manifest } from './lib/helm.ts';

/** Values that shorten all windows, as the end-to-end tests do. */
const shortWindows = {
  'monitoring.rules.enabled': true,
  'monitoring.rules.interval': '1s',
  'monitoring.slo.rateWindow': '8s',
  'monitoring.slo.period': '10m',
  'monitoring.slo.burnRates': [
    { long: '30s', short: '8s', factor: 14.4, severity: 'page' },
    { long: '1m', short: '16s', factor: 6, severity: 'ticket' },
  ],
  'monitoring.alerts.for': '0s',
  'monitoring.alerts.window': '8s',
  'monitoring.alerts.restartWindow': '1m',
} as const;

await describeWithHelm('monitoring in the chart', ({ render }) => {
  const rulesOf = async (values: Readonly<Record<string, unknown>>): Promise<Manifest[]> => {
    const { spec } = (await render(values)).get('PrometheusRule', 'zerda');
    return spec.groups.flatMap(({ rules }: { rules: Manifest[] }) => rules);
  };
  const alertsOf = async (values: Readonly<Record<string, unknown>>) =>
    (await rulesOf(values)).filter(({ alert }) => alert !== undefined);

  it('is not installed by default', async () => {
    const rendered = await render();
    assert.deepEqual(rendered.names('PrometheusRule'), []);
    assert.deepEqual(
      rendered.names('ConfigMap').filter((name) => name.includes('dashboard')),
      [],
    );
  });

  it('selects the series of the release and has the labels that Prometheus selects', async () => {
    const values = { 'monitoring.rules.enabled': true, 'monitoring.rules.labels': { release: 'kps' } };
    const { metadata } = (await render(values)).get('PrometheusRule', 'zerda');
    assert.equal(metadata.labels.release, 'kps');
    for (const { expr, record } of await rulesOf(values))
      if (!/^vector/.test(expr)) assert.match(expr, /namespace="zerda"/, record);
  });

  it('has objectives, thresholds and runbooks as in the values', async () => {
    const alerts = await alertsOf({
      ...shortWindows,
      'monitoring.runbookUrl': 'https://runbooks.example',
      'monitoring.slo.availabilityPercent': 99.5,
      'monitoring.slo.latencySeconds': 0.25,
      'monitoring.alerts.outboxAgeSeconds': 7,
      'monitoring.alerts.signingKeyAgeSeconds': 2_592_000,
    });
    const find = (name: string) => alerts.filter(({ alert }) => alert === name);
    const burns = find('ZerdaAvailabilityBudgetBurn');
    assert.deepEqual(
      burns.map(({ labels }) => [labels.severity, labels.long_window, labels.short_window]),
      [
        ['page', '30s', '8s'],
        ['ticket', '1m', '16s'],
      ],
    );
    assert.match(burns[0].expr, /ratio_rate30s\{.*\} > 14\.4 \* \(100 - 99\.5\) \/ 100/);
    assert.match(find('ZerdaOutboxDelayed')[0].expr, / > 7$/);
    assert.match(find('ZerdaSigningKeyOld')[0].expr, / > 2592000$/);
    assert.equal(
      find('ZerdaDeadLetters')[0].annotations.runbook_url,
      'https://runbooks.example/dead-letters.md',
    );
    assert.equal(find('ZerdaDeadLetters')[0].for, '0s');
    const slow = (await rulesOf({ ...shortWindows, 'monitoring.slo.latencySeconds': 0.25 })).find(
      ({ record }) => record === 'job:http_server_slow:rate8s',
    );
    assert.match(slow.expr, /le="0\.25"/);
  });

  it('rejects a threshold that is not a bucket, and windows that are not durations', async () => {
    await assert.rejects(render({ 'monitoring.slo.latencySeconds': 0.3 }), /latencySeconds/);
    await assert.rejects(render({ 'monitoring.slo.burnRates': [{ long: 'an hour' }] }), /burnRates/);
  });

  it('does not expect a service that is not installed', async () => {
    const jobs = async (values: Readonly<Record<string, unknown>>) =>
      (await alertsOf({ 'monitoring.rules.enabled': true, ...values }))
        .filter(({ alert }) => alert === 'ZerdaServiceDown')
        .map(({ labels }) => labels.job);
    assert.deepEqual(await jobs({}), ['gateway', 'order-service', 'user-service']);
    assert.deepEqual(await jobs({ 'order-service.enabled': false }), ['gateway', 'user-service']);
  });

  it('has a ConfigMap for each dashboard, with the label of the sidecar and its runbooks', async () => {
    const rendered = await render({
      'monitoring.dashboards': { enabled: true, annotations: { grafana_folder: 'zerda' } },
      'monitoring.runbookUrl': 'https://runbooks.example',
    });
    for (const { uid = '', title } of allDashboards()) {
      const { metadata, data } = rendered.get('ConfigMap', `zerda-dashboard-${uid.replace('zerda-', '')}`);
      assert.equal(metadata.labels.grafana_dashboard, '1');
      assert.equal(metadata.annotations.grafana_folder, 'zerda');
      const text = data[`${uid}.json`];
      assert.equal(JSON.parse(text).title, title);
      assert.match(text, /"https:\/\/runbooks\.example\/README\.md"/);
      assert.doesNotMatch(text, /github\.com/);
      assert.ok(text.length < 200_000, `${uid}: ${text.length} bytes`);
    }
  });

  describeWithPromtool('with short windows', (promtool) => {
    it('is valid', async () => {
      await runPromtool(promtool, ['check', 'rules'], {
        groups: [{ name: 'zerda', rules: await rulesOf(shortWindows) }],
      });
    });
  });
});
