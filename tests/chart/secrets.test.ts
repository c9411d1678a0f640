import assert from 'node:assert/strict';
import { it } from 'node:test';
import { render as renderText } from '../../scripts/lib/chart.ts';
import { serveCluster } from './lib/cluster-api.ts';
import { describeWithHelm } from './lib/helm.ts';

const gitops = ['--values', 'charts/zerda/values-gitops.yaml'];
const servers = { 'global.nats.type': 'bundled', 'global.valkey.type': 'bundled' };

/** Values that name a Secret, each with the other values that make the chart need it. */
const existing = {
  'global.eventsSecret': {},
  'global.managementSecret': {},
  'global.auth.existingSecret': {},
  'global.nats.bundled.existingSecret': { 'global.nats.type': 'bundled' },
  'global.valkey.bundled.existingSecret': { 'global.valkey.type': 'bundled' },
  'user-service.database.bundled.existingSecret': {},
  'order-service.database.bundled.existingSecret': {},
} as const;

await describeWithHelm('secrets in a render without access to a cluster', ({ render, command }) => {
  for (const profile of [[], ['--values', 'charts/zerda/values-dev.yaml']]) {
    it(`are the same in each render with values-gitops.yaml (${profile.join(' ') || 'defaults'})`, async () => {
      const set = Object.entries(servers).flatMap(([path, value]) => ['--set', `${path}=${value}`]);
      const args = [...profile, ...gitops, ...set];
      const [first, second] = [await renderText(command, { args }), await renderText(command, { args })];
      assert.equal(first, second);
      assert.equal(/^kind: Secret$/m.test(first), false);
    });
  }

  for (const [value, needed] of Object.entries(existing)) {
    it(`are rejected with the value to set when ${value} is missing`, async () => {
      const values = { ...needed, [value]: '' };
      const message = new RegExp(`set ${value.replaceAll('.', '\\.')} to its name`);
      await assert.rejects(render(values, { args: gitops, cluster: [] }), message);
      await render(values, { args: gitops });
    });
  }

  it('are rejected for a service that is installed alone', async () => {
    const chart = 'charts/zerda/charts/service';
    await assert.rejects(
      render({ 'database.type': 'bundled' }, { chart, cluster: [] }),
      /set database\.bundled\.existingSecret to its name/,
    );
    await render(
      { 'database.type': 'bundled', 'database.bundled.password': 'chosen' },
      { chart, cluster: [] },
    );
  });

  it('are generated in a namespace that the installation creates', async () => {
    const rendered = await render({}, { cluster: await serveCluster({ namespace: false }) });
    assert.ok(rendered.names('Secret').includes('zerda-auth'));
  });

  it('are all kept at an upgrade', async () => {
    const first = await render(servers);
    const secrets = Object.fromEntries(
      first.names('Secret').map((name) => {
        const data = Object.entries<string>(first.get('Secret', name).data);
        return [name, Object.fromEntries(data.map(([key, text]) => [key, atob(text)]))];
      }),
    );
    const next = await render(servers, { cluster: await serveCluster({ secrets }) });
    assert.equal(first.names('Secret').length, 7);
    for (const name of first.names('Secret'))
      assert.deepEqual(next.get('Secret', name).data, first.get('Secret', name).data, name);
  });

  it('are kept for an existing database when the password in the values changes', async () => {
    const name = 'zerda-user-service-postgresql';
    const cluster = await serveCluster({ secrets: { [name]: { password: 'of the database' } } });
    const rendered = await render({ 'user-service.database.bundled.password': 'chosen later' }, { cluster });
    assert.equal(atob(rendered.get('Secret', name).data.password), 'of the database');
  });
});
