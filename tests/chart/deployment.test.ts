import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { render } from '../../scripts/lib/chart.ts';
import { deploymentValues } from '../../scripts/lib/deploy-command.ts';
import type { DeployedService } from '../../scripts/lib/deployments.ts';
import { services, versionOf } from '../../scripts/lib/services.ts';
import { describeWithHelm, type Manifest } from './lib/helm.ts';

const names = services.map(({ name }) => name);
const digestOf = (letter: string): string => `sha256:${letter.repeat(64)}`;

await describeWithHelm('a deployment', ({ command: helm }) => {
  /** Renders the chart for an environment in which all services have version 1.0.0, except those in `changes`. */
  const renderText = (changes: Readonly<Record<string, DeployedService>> = {}): Promise<string> => {
    const deployed = names.map((name): [string, DeployedService] => [
      name,
      changes[name] ?? { version: '1.0.0', digest: digestOf('a') },
    ]);
    const values = deploymentValues(new Map(deployed), names);
    return render(helm, { args: ['--values', 'charts/zerda/values-prod.yaml', ...values] });
  };

  for (const name of names) {
    it(`of a new version of ${name} changes its images and version labels, and nothing else`, async () => {
      const before = (await renderText()).split('\n');
      const after = (await renderText({ [name]: { version: '1.1.0', digest: digestOf('b') } })).split('\n');
      assert.equal(after.length, before.length);
      const changed = after.filter((line, index) => line !== before[index]).map((line) => line.trim());
      const images = changed.filter((line) => !line.startsWith('app.kubernetes.io/version:'));
      assert.ok(images.length > 0);
      for (const line of images) assert.match(line, new RegExp(`^image: zerda/${name}@${digestOf('b')}$`));
    });

    it(`of a new version of ${name} replaces no pod of another service`, async () => {
      const templatesOf = async (text: Promise<string>) =>
        parseAllDocuments(await text)
          .map((document) => document.toJSON() as Manifest)
          .filter((object) => object?.spec?.template !== undefined)
          .filter(({ metadata }) => metadata.labels['app.kubernetes.io/name'] !== name)
          .map(({ spec }) => spec.template);
      assert.deepEqual(
        await templatesOf(renderText({ [name]: { version: '1.1.0', digest: digestOf('b') } })),
        await templatesOf(renderText()),
      );
    });
  }

  it('uses the version of each service in its package.json by default', async () => {
    const text = await render(helm, { args: ['--values', 'charts/zerda/values-prod.yaml'] });
    for (const name of names) assert.match(text, new RegExp(`image: zerda/${name}:${versionOf(name)}\n`));
  });

  it('installs no service without a version in the environment', async () => {
    const values = deploymentValues(new Map([['gateway', { version: '1.0.0' }]]), names);
    const text = await render(helm, { args: ['--values', 'charts/zerda/values-prod.yaml', ...values] });
    assert.match(text, /image: zerda\/gateway:1\.0\.0\n/);
    assert.doesNotMatch(text, /image: zerda\/order-service/);
  });
});
