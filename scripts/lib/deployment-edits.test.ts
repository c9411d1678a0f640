import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { captureOutput } from './child-process.ts';
import { deployCommand } from './deploy-command.ts';
import { findPreviousVersion, setDeployedService, withDeployedService } from './deployment-edits.ts';
import { findEnvironments, readDeployment } from './deployments.ts';
import { selectServices } from './services.ts';

const known = ['gateway', 'orders'];
const digest = `sha256:${'a'.repeat(64)}`;
const text = `# Production.
services:
  gateway:
    # Held back until the cache is warm.
    version: 1.0.0
    digest: ${digest}
  orders:
    version: 2.0.0 # needs migration 7
`;

describe('deploy/', () => {
  it('has a valid file for each environment', async () => {
    const environments = await findEnvironments();
    assert.ok(environments.includes('production'));
    for (const environment of environments) await readDeployment(environment, selectServices([]));
  });
});

describe('an edited deployment', () => {
  it('changes only the lines of one service and keeps comments', () => {
    const edited = withDeployedService(text, 'orders', { version: '2.1.0', digest });
    assert.equal(
      edited,
      text.replace(
        'version: 2.0.0 # needs migration 7\n',
        `version: 2.1.0 # needs migration 7\n    digest: ${digest}\n`,
      ),
    );
  });

  it('of a new version and its digest changes two lines', () => {
    const next = { version: '1.1.0', digest: `sha256:${'b'.repeat(64)}` };
    const [before, after] = [text, withDeployedService(text, 'gateway', next)].map((file) =>
      file.split('\n'),
    );
    assert.equal(after?.length, before?.length);
    assert.deepEqual(
      after?.filter((line, index) => line !== before?.[index]),
      ['    version: 1.1.0', `    digest: ${next.digest}`],
    );
  });

  it('has no digest of another version', () => {
    const edited = withDeployedService(text, 'gateway', { version: '1.1.0' });
    assert.equal(edited, text.replace('1.0.0', '1.1.0').replace(`    digest: ${digest}\n`, ''));
  });

  it('has an entry for a service that was not deployed', () => {
    const edited = withDeployedService('services:\n  gateway:\n    version: 1.0.0\n', 'orders', {
      version: '0.1.0',
    });
    assert.equal(edited, 'services:\n  gateway:\n    version: 1.0.0\n  orders:\n    version: 0.1.0\n');
  });
});

describe('the file of an environment', () => {
  let folder: string;
  const file = () => join(folder, 'deploy/production.yaml');
  const git = (...args: string[]) =>
    captureOutput(['git', '-c', 'user.name=test', '-c', 'user.email=test@example.com', ...args], {
      cwd: folder,
    });
  const commit = async (): Promise<void> => {
    await git('add', '--all');
    await git('commit', '--quiet', '--message=deploy');
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-deploy-'));
    await mkdir(join(folder, 'deploy'));
    await writeFile(file(), text);
    await git('init', '--quiet');
    await commit();
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('is unchanged if the version or the digest is invalid', async () => {
    for (const deployed of [{ version: 'latest' }, { version: '1.0.0', digest: 'sha256:1' }])
      await assert.rejects(setDeployedService('production', 'orders', deployed, known, folder), {
        exitCode: 78,
      });
    await assert.rejects(setDeployedService('test', 'orders', { version: '1.0.0' }, known, folder), {
      exitCode: 78,
    });
    assert.equal(await readFile(file(), 'utf8'), text);
  });

  it('has the previous version of a service in its commits, whatever was deployed of others', async () => {
    await setDeployedService('production', 'orders', { version: '2.1.0' }, known, folder);
    await commit();
    await setDeployedService('production', 'gateway', { version: '1.1.0' }, known, folder);
    await commit();
    const previous = (service: string) => findPreviousVersion('production', service, known, folder);
    assert.deepEqual(await previous('orders'), { version: '2.0.0' });
    assert.deepEqual(await previous('gateway'), { version: '1.0.0', digest });
  });

  it('has no previous version of a service that was deployed once', async () => {
    await assert.rejects(
      findPreviousVersion('production', 'orders', known, folder),
      /no earlier version of orders/,
    );
  });

  it('becomes one upgrade of the release', async () => {
    const deployment = await readDeployment('production', [...known, 'billing'], folder);
    const command = deployCommand(deployment, {
      helm: 'helm',
      namespace: 'shop',
      services: [...known, 'billing'],
      valueFiles: ['deploy/values/production.yaml'],
      args: ['--dry-run'],
    });
    assert.deepEqual(command, [
      ...[
        'helm',
        'upgrade',
        '--install',
        'zerda',
        'charts/zerda',
        '--namespace',
        'shop',
        '--create-namespace',
      ],
      ...['--values', 'deploy/values/production.yaml'],
      ...['--set-string', `gateway.image.tag=1.0.0,gateway.image.digest=${digest}`],
      ...['--set-string', 'orders.image.tag=2.0.0,orders.image.digest='],
      ...['--set', 'billing.enabled=false'],
      ...['--wait', '--timeout', '10m', '--dry-run'],
    ]);
  });
});
