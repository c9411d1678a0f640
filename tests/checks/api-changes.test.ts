import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { describeWithServer } from '../../packages/chassis/testing/server.ts';
import { services } from '../../scripts/lib/services.ts';
import { copyRepository, type RepositoryCopy } from '../kit/repository-copy.ts';

const oasdiff = { title: 'oasdiff', names: ['oasdiff'], required: 'REQUIRE_OASDIFF' };

interface UserSchema {
  readonly properties: Record<string, object>;
  required: string[];
}

let copy: RepositoryCopy;

before(async () => {
  copy = await copyRepository(['.changeset']);
});
after(() => copy.remove());

describe('npm run api-changes', () => {
  it('has nothing to compare with before the first release', async () => {
    const { code, stdout } = await copy.script('api-changes');
    assert.equal(code, 0);
    for (const { name } of services)
      assert.match(stdout, new RegExp(`^ok     ${name}: no release yet$`, 'm'));
  });

  it('exits with 78 for an unknown service', async () => {
    const { code, stderr } = await copy.script('api-changes', 'payments');
    assert.equal(code, 78);
    assert.match(stderr, /^payments is not a service of this repository\. Use /);
  });
});

await describeWithServer(oasdiff)('npm run api-changes after a release', () => {
  before(async () => {
    for (const { name } of services) await copy.git('tag', `${name}@0.1.0`);
  });
  afterEach(async () => {
    await copy.git('checkout', '--quiet', '.');
    await copy.git('clean', '--quiet', '--force', '.changeset');
  });

  /** Changes the schema of users in the documents that contain it. */
  async function changeUser(change: (user: UserSchema) => void): Promise<void> {
    for (const name of ['user-service', 'gateway']) {
      const file = join(copy.folder, `packages/contracts/openapi/${name}.json`);
      const document = JSON.parse(await readFile(file, 'utf8'));
      change(document.components.schemas.User);
      await writeFile(file, JSON.stringify(document));
    }
  }

  const removeEmail = () =>
    changeUser((user) => {
      delete user.properties.email;
      user.required = user.required.filter((member) => member !== 'email');
    });

  const declare = (level: string) =>
    writeFile(
      join(copy.folder, '.changeset/planted.md'),
      `---\n"@zerda/user-service": ${level}\n---\n\nText.\n`,
    );

  it('allows a new member', async () => {
    await changeUser((user) => {
      user.properties.nickname = { type: 'string' };
    });
    const { code, stdout } = await copy.script('api-changes');
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^ok {5}user-service: breaking changes since 0\.1\.0: 0$/m);
  });

  it('rejects a removed member, for the service and for the aggregates of the gateway', async () => {
    await removeEmail();
    const { code, stdout, stderr } = await copy.script('api-changes');
    assert.equal(code, 1);
    assert.match(stdout, /^BROKEN user-service: breaking changes since 0\.1\.0: 4$/m);
    assert.match(stdout, /^ {7}GET \/api\/users\/\{id\}: removed the required property `data\/email`/m);
    assert.match(
      stdout,
      /^BROKEN gateway: breaking changes since 0\.1\.0: 1\n {7}GET \/api\/users\/\{id\}\/profile: /m,
    );
    assert.match(stdout, /^ok {5}order-service: breaking changes since 0\.1\.0: 0$/m);
    assert.match(stderr, /declare "@zerda\/user-service": major with npm run changeset/);
  });

  it('rejects a removed member that a changeset declares as minor, and allows it as major', async () => {
    await removeEmail();
    await declare('minor');
    assert.equal((await copy.script('api-changes', 'user-service')).code, 1);
    await declare('major');
    const { code, stdout } = await copy.script('api-changes', 'user-service');
    assert.equal(code, 0);
    assert.match(stdout, /^ {7}declared in \.changeset\/planted\.md$/m);
  });

  it('rejects the removal of the document of a management port', async () => {
    await rm(join(copy.folder, 'packages/contracts/openapi/user-service-management.json'));
    const { code, stdout } = await copy.script('api-changes', 'user-service');
    assert.equal(code, 1);
    assert.match(stdout, /user-service-management\.json was removed/);
  });
});
