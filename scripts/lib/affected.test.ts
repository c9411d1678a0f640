import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findAffected, type LockFile, type Snapshot } from './affected.ts';

const services = [{ name: 'users' }, { name: 'orders' }];

/** Orders uses the library, users does not. Both depend on `shared`, at different versions of `deep`. */
const packages: LockFile['packages'] = {
  'node_modules/@zerda/library': { resolved: 'packages/library', link: true },
  'node_modules/shared': { version: '1.0.0', integrity: 'a', dependencies: { deep: '1' } },
  'node_modules/deep': { version: '1.0.0', integrity: 'b' },
  'packages/orders/node_modules/shared': { version: '2.0.0', integrity: 'c', dependencies: { deep: '2' } },
  'packages/orders/node_modules/deep': { version: '2.0.0', integrity: 'd' },
  'node_modules/of-library': { version: '1.0.0', integrity: 'e', peerDependencies: { peer: '1' } },
  'node_modules/peer': { version: '1.0.0', integrity: 'f' },
  'node_modules/tool': { version: '1.0.0', integrity: 'g', dependencies: { helper: '1' } },
  'node_modules/helper': { version: '1.0.0', integrity: 'h' },
  'node_modules/unused': { version: '1.0.0', integrity: 'i' },
};

function snapshot(changed: LockFile['packages'] = {}): Snapshot {
  return {
    manifests: new Map([
      ['', { name: 'root', devDependencies: { tool: '1.0.0' } }],
      ['packages/library', { name: '@zerda/library', dependencies: { 'of-library': '1.0.0' } }],
      ['packages/users', { name: '@zerda/users', dependencies: { shared: '1.0.0' } }],
      [
        'packages/orders',
        { name: '@zerda/orders', dependencies: { shared: '2.0.0', '@zerda/library': '1' } },
      ],
    ]),
    lock: { packages: { ...packages, ...changed } },
  };
}

describe('affected services', () => {
  const cases: [file: string, affected: string[]][] = [
    ['packages/orders/src/main.ts', ['orders']],
    ['packages/users/migrations/0001_first.sql', ['users']],
    ['packages/library/src/index.ts', ['orders']],
    ['packages/orders-archive/src/main.ts', []],
    ['package.json', ['users', 'orders']],
    ['Dockerfile', ['users', 'orders']],
    ['.npmrc', ['users', 'orders']],
    ['tsconfig.base.json', ['users', 'orders']],
    ['scripts/lib/bundler.ts', ['users', 'orders']],
    ['tests/system/gateway.test.ts', ['users', 'orders']],
    ['.github/workflows/pipeline.yml', ['users', 'orders', 'chart', 'docs']],
    ['scripts/lib/pipeline.ts', ['users', 'orders', 'chart', 'docs']],
    ['scripts/lib/delivery-units.ts', ['users', 'orders', 'chart', 'docs']],
    ['scripts/pipeline.ts', ['users', 'orders', 'chart', 'docs']],
    ['scripts/lib/chart.ts', ['users', 'orders', 'chart']],
    ['tests/bench/load.ts', []],
    ['charts/zerda/values.yaml', ['chart']],
    ['deploy/production.yaml', ['chart']],
    ['k8s/zerda.yaml', ['chart']],
    ['docs/kubernetes.md', ['docs']],
    ['README.md', ['docs']],
    ['packages/orders/README.md', ['orders', 'docs']],
  ];
  for (const [file, expected] of cases) {
    it(`of a change of ${file} are ${expected.join(', ') || 'none'}`, () => {
      const { services: names, areas } = findAffected(services, [file], snapshot(), snapshot());
      assert.deepEqual([...names, ...areas], expected);
    });
  }

  const updates: [name: string, affected: string[]][] = [
    ['node_modules/shared', ['users']],
    ['node_modules/deep', ['users']],
    ['packages/orders/node_modules/deep', ['orders']],
    ['node_modules/of-library', ['orders']],
    ['node_modules/peer', ['orders']],
    ['node_modules/helper', ['users', 'orders']],
    ['node_modules/unused', []],
  ];
  for (const [path, expected] of updates) {
    it(`of an update of ${path} in the lock file are ${expected.join(', ') || 'none'}`, () => {
      const updated = snapshot({ [path]: { ...packages[path], version: '9.0.0' } });
      assert.deepEqual(findAffected(services, ['package-lock.json'], snapshot(), updated).services, expected);
    });
  }

  it('include those whose package is republished under the same version', () => {
    const updated = snapshot({ 'node_modules/deep': { version: '1.0.0', integrity: 'other' } });
    assert.deepEqual(findAffected(services, ['package-lock.json'], snapshot(), updated).services, ['users']);
  });
});
