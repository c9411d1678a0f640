import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findEnvironments, readDeployment } from './deployments.ts';
import { services } from './services.ts';

const digest = `sha256:${'0'.repeat(64)}`;

describe('readDeployment', () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-deployments-'));
    await mkdir(join(folder, 'deploy'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  async function read(yaml: string) {
    await writeFile(join(folder, 'deploy/test.yaml'), yaml);
    return readDeployment('test', ['one', 'two'], folder);
  }

  it('returns the version and digest of each deployed service', async () => {
    const yaml = `services:\n  one:\n    version: 1.2.3\n    digest: ${digest}\n  two: { version: 2.0.0-rc.1 }\n`;
    assert.deepEqual(
      [...(await read(yaml))],
      [
        ['one', { version: '1.2.3', digest }],
        ['two', { version: '2.0.0-rc.1' }],
      ],
    );
    assert.deepEqual([...(await read('services: {}\n'))], []);
  });

  for (const [title, yaml, message] of [
    ['an unknown service', 'services: { three: { version: 1.2.3 } }', /three is not a service/],
    [
      'a version that YAML reads as a number',
      'services: { one: { version: 1.2 } }',
      /services\.one\.version must/,
    ],
    ['a version with v', 'services: { one: { version: v1.2.3 } }', /services\.one\.version must/],
    [
      'a short digest',
      'services: { one: { version: 1.2.3, digest: "sha256:0" } }',
      /services\.one\.digest must/,
    ],
    ['an unknown member', 'services: { one: { version: 1.2.3, tag: x } }', /services\.one .*tag/],
    ['an empty file', '', /^deploy\/test\.yaml: /],
    ['text that is not YAML', 'services: {', /^deploy\/test\.yaml: /],
  ] as const) {
    it(`rejects ${title}`, async () => {
      await assert.rejects(read(yaml), { name: 'StartupError', exitCode: 78, message });
    });
  }
});

describe('the files in deploy/', () => {
  it('are valid', async () => {
    const environments = await findEnvironments();
    assert.ok(environments.length > 0);
    for (const environment of environments)
      await readDeployment(
        environment,
        services.map(({ name }) => name),
      );
  });
});
