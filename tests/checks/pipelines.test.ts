import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { sourceChecks } from '../../scripts/checks/source-checks.ts';
import { deliveryUnits, planPipeline } from '../../scripts/lib/delivery-units.ts';
import { root, services } from '../../scripts/lib/services.ts';

/** Where .ci/run runs the scripts of the pipelines, for all services. */
const inCi: Readonly<Record<string, string>> = {
  // Its check `generated`.
  'scripts/generate.ts --check': 'npm run check',
  'scripts/test.ts packages/': 'npm ci && npm test',
  'scripts/test.ts tests/checks': 'npm ci && npm test',
  // tests/repository/can-i-deploy.test.ts
  'scripts/can-i-deploy.ts': 'npm test -- tests/repository',
  // The Dockerfile bundles the service.
  'scripts/build.ts': 'npm run images',
  'scripts/images.ts': 'npm run images',
};

const scripts = await Promise.all(
  ['run', 'cluster', 'compose'].map((name) => readFile(join(root, '.ci', name), 'utf8')),
);
const commands = scripts.join('\n').replaceAll(/^\s*#.*$/gm, '');

describe('.ci/run', () => {
  for (const unit of deliveryUnits) {
    const pipeline = `npm run pipeline -- ${unit}`;
    if (commands.includes(pipeline)) continue;
    it(`runs the steps of ${pipeline}`, async () => {
      for (const { title, command } of await planPipeline(unit)) {
        if (command === undefined) {
          // The same definition, for the repository.
          assert.ok(
            title === 'language' || title in sourceChecks([]),
            `${title} is a check of npm run check`,
          );
          assert.ok(commands.includes('npm run check'), title);
          continue;
        }
        const line = command.join(' ');
        const covered = Object.entries(inCi).find(([script]) => line.includes(script));
        assert.ok(covered, `inCi says where .ci/run runs ${line}`);
        assert.ok(commands.includes(covered[1]), `.ci/run runs ${covered[1]}`);
      }
    });
  }

  it('tests all packages that the pipelines of services test', async () => {
    for (const { name } of services) {
      const unitTests = (await planPipeline(name)).find(({ title }) => title === 'unit tests');
      const paths = unitTests?.command?.slice(unitTests.command.indexOf('scripts/test.ts') + 1) ?? [];
      assert.ok(paths.includes(`packages/${name}`));
      for (const path of paths) assert.match(path, /^packages\//);
    }
  });
});
