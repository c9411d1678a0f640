import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { parse } from 'yaml';
import { root } from '../../scripts/lib/services.ts';
import { describeWithHelm } from './lib/helm.ts';

const guide = readFileSync(join(root, 'docs/guides/take-the-gateway.md'), 'utf8');

await describeWithHelm('the gateway alone, with the values of its guide', ({ render }) => {
  it('has a route table of its own and calls only the services of the guide', async () => {
    const [, values = ''] = /^`gateway-values\.yaml`\n\n```yaml\n(.*?)^```$/ms.exec(guide) ?? [];
    const rendered = await render(parse(values));
    assert.deepEqual(rendered.names('Deployment'), ['zerda-gateway']);
    assert.deepEqual(rendered.names('StatefulSet'), []);

    const { data } = rendered.get('ConfigMap', 'zerda-gateway');
    const urls = Object.entries(data).filter(([name]) => name.endsWith('_SERVICE_URL'));
    assert.deepEqual(Object.fromEntries(urls), {
      CATALOG_SERVICE_URL: 'http://catalog.shop.svc:8080',
      STOCK_SERVICE_URL: 'http://stock.shop.svc:8080',
    });
    assert.equal(data.AUTH_JWKS_URL, 'https://login.example.com/jwks.json');

    const { containers, volumes } = rendered.get('Deployment', 'zerda-gateway').spec.template.spec;
    const { volumeMounts } = containers[0];
    const mount = volumeMounts.find(({ name }: { name: string }) => name === 'routes');
    assert.equal(data.ROUTES_FILE, `${mount.mountPath}/routes.yaml`);
    assert.ok(
      volumes.some(({ configMap }: { configMap?: { name: string } }) => configMap?.name === 'gateway-routes'),
    );

    const { egress } = rendered.get('NetworkPolicy', 'zerda-gateway').spec;
    const ports = egress.flatMap((rule: { ports: { port: number }[] }) => rule.ports.map(({ port }) => port));
    assert.deepEqual([...new Set(ports)].sort(), [443, 53, 8080]);
  });
});
