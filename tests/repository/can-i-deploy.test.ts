import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { describeWithPact } from '../../packages/chassis/testing/pact-library.ts';
import { services } from '../../scripts/lib/services.ts';
import { copyRepository, type RepositoryCopy, type ScriptResult } from '../kit/repository-copy.ts';

await describeWithPact('npm run can-i-deploy', () => {
  let copy: RepositoryCopy;

  /** Sets the version of a service in its package.json. */
  async function setVersion(service: string, version: string): Promise<void> {
    await copy.replace(`packages/${service}/package.json`, '"version": "0.1.0"', `"version": "${version}"`);
  }

  /** Asserts the exit code, and that the output contains each line. */
  function assertOutput(
    { code, stdout, stderr }: ScriptResult,
    expectedCode: number,
    lines: readonly string[],
  ) {
    assert.equal(code, expectedCode, stdout + stderr);
    const output = stdout.split('\n').map((line) =>
      line
        .trim()
        .replace(/ +/, ' ')
        // The number of interactions grows.
        .replace(/ of \d+ interactions$|: \d+ interactions$/, ''),
    );
    for (const line of lines) assert.ok(output.includes(line), `${line} is not in\n${stdout}`);
  }

  before(async () => {
    copy = await copyRepository(['deploy']);
  });
  after(() => copy.remove());

  it('names the services that a candidate needs but that are not deployed', async () => {
    await writeFile(join(copy.folder, 'deploy/empty.yaml'), 'services: {}\n');
    assertOutput(await copy.script('can-i-deploy', 'gateway', 'empty'), 1, [
      'BROKEN gateway 0.1.0 (working tree) -> order-service: not deployed to empty',
      'BROKEN gateway 0.1.0 (working tree) -> user-service: not deployed to empty',
      'gateway 0.1.0 (working tree) cannot be deployed to empty.',
    ]);
  });

  describe('after a release of each service', () => {
    before(async () => {
      for (const { name } of services) await copy.git('tag', `${name}@0.1.0`);
    });

    it('exits with 0 if the deployed services and the candidate satisfy each other', async () => {
      assertOutput(await copy.script('can-i-deploy', 'user-service', 'production'), 0, [
        'ok gateway 0.1.0 -> user-service 0.1.0 (working tree)',
        'ok order-service 0.1.0 -> user-service 0.1.0 (working tree)',
        'user-service 0.1.0 (working tree) can be deployed to production.',
      ]);
    });

    it('names the deployed provider that does not give a release what it needs', async () => {
      await setVersion('order-service', '0.2.0');
      const pact = 'packages/order-service/pacts/order-service-user-service.json';
      await copy.replace(pact, '"user-not-found"', '"user-unknown"');
      await copy.git('commit', '--quiet', '--all', '--message', 'order-service 0.2.0');
      await copy.git('tag', 'order-service@0.2.0');

      assertOutput(await copy.script('can-i-deploy', 'order-service', '0.2.0', 'production'), 1, [
        'BROKEN order-service 0.2.0 -> user-service 0.1.0: 1',
        'a request for an unknown user',
        'ok gateway 0.1.0 -> order-service 0.2.0',
        'order-service 0.2.0 cannot be deployed to production.',
      ]);
    });

    it('names the consumers, deployed and last released, whose API and events a candidate breaks', async () => {
      await setVersion('user-service', '0.2.0');
      const handlers = 'packages/user-service/src/http/user-handlers.ts';
      await copy.replace(handlers, 'name, email, role, created_at', 'name, mail: email, role, created_at');
      for (const file of ['contracts/src/user-service/events.ts', 'user-service/src/store/user-store.ts'])
        await copy.replace(`packages/${file}`, 'deleted_at', 'removed_at');

      assertOutput(await copy.script('can-i-deploy', 'user-service', 'production'), 1, [
        'BROKEN gateway 0.1.0 -> user-service 0.2.0 (working tree): 1',
        'a request for an existing user',
        '$.data: Actual map is missing the following keys: email',
        'BROKEN order-service 0.1.0 -> user-service 0.2.0 (working tree): 1',
        'the event zerda.user.deleted.v1',
        '$.data: Actual map is missing the following keys: deleted_at',
        'BROKEN order-service 0.2.0 -> user-service 0.2.0 (working tree): 2',
        'a request for an unknown user',
        'user-service 0.2.0 (working tree) cannot be deployed to production.',
      ]);
    });
  });

  for (const [title, args, message] of [
    ['without an environment', ['gateway'], /^A service and an environment are needed\. Use /],
    ['with an unknown service', ['payments', 'production'], /^payments is not a service\. Use one of: /],
    [
      'with an unknown environment',
      ['gateway', 'moon'],
      /^moon is not an environment in deploy\/\. Use one of: /,
    ],
    [
      'with an unknown version',
      ['gateway', '9.9.9', 'staging'],
      /^gateway 9\.9\.9 has no tag gateway@9\.9\.9, /,
    ],
  ] as const) {
    it(`exits with 78 ${title}`, async () => {
      const { code, stderr } = await copy.script('can-i-deploy', ...args);
      assert.equal(code, 78);
      assert.match(stderr, message);
    });
  }
});
