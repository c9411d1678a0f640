import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { containedPackages, deliveryUnits, planPipeline } from './delivery-units.ts';
import { services } from './services.ts';

describe('delivery units', () => {
  it('are the services, the chart and the documentation', () => {
    assert.deepEqual(deliveryUnits, [...services.map(({ name }) => name), 'chart', 'docs']);
  });

  for (const { name } of services) {
    it(`check ${name} from its types to its image`, async () => {
      assert.deepEqual(
        (await planPipeline(name)).map(({ title }) => title),
        [
          ...['types', 'lint and format', 'imports', 'licenses', 'API documents', 'generated files'],
          ...['unit tests', 'contracts', 'bundle', 'image'],
        ],
      );
    });
  }

  it('check the chart up to its tests in a mesh', async () => {
    assert.deepEqual(
      (await planPipeline('chart')).map(({ title }) => title),
      ['generated files', 'rules, dashboards', 'helm lint', 'chart tests', 'package', 'mesh and canary'],
    );
  });

  it('of a service contain the packages that it depends on, and no other service', async () => {
    const folders = await containedPackages('order-service');
    const names = folders.map((folder) => folder.replace('packages/', '')).sort();
    assert.deepEqual(names, ['chassis', 'contracts', 'events', 'order-service', 'upstream']);
  });

  it('have no pipeline under another name', async () => {
    await assert.rejects(planPipeline('billing'), {
      exitCode: 78,
      message: /^Unknown delivery unit: billing/,
    });
  });
});
