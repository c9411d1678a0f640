import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { constants, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { findCommand } from '../../scripts/lib/chart.ts';
import { exitCodeOf } from '../../scripts/lib/child-process.ts';
import { root, services } from '../../scripts/lib/services.ts';
import { imagesIn, readInstallation } from './lib/installation.ts';
import { get, kubectl } from './lib/kubectl.ts';
import { waitForRollouts } from './lib/rollouts.ts';
import { secretFiles } from './lib/secret-files.ts';
import { forceDeleteNamespace } from './lib/test-release.ts';

const run = promisify(execFile);
/** Namespace in skaffold.yaml and k8s/. */
const namespace = 'zerda';
const deployments = services.map(({ name }) => `zerda-${name}`);
/** Milliseconds in which the images are built and installed. */
const installMs = 600_000;

const missing = await findMissing();
if (missing === undefined) describe('skaffold', suite);
else if (process.env.REQUIRE_SKAFFOLD === '1')
  it('skaffold', () => assert.fail(`REQUIRE_SKAFFOLD=1, but ${missing}`));
else it(`skaffold: skipped, ${missing}`, { skip: true }, () => undefined);

/** Why these tests cannot run here; undefined if they can. */
async function findMissing(): Promise<string | undefined> {
  if ((await findCommand('skaffold')) === undefined) return 'skaffold is not on the PATH';
  const taken = await kubectl(['get', 'namespace', namespace, '--ignore-not-found', '--output', 'name']);
  return taken === '' ? undefined : `the namespace ${namespace} exists`;
}

function suite(): void {
  let folder: string | undefined;
  afterEach(async () => {
    await forceDeleteNamespace(namespace);
    if (folder !== undefined) await rm(folder, { recursive: true });
    folder = undefined;
  });

  /** Names the images that `npm run e2e` has built, as `skaffold build --file-output` does. */
  async function writeBuildArtifacts(): Promise<string> {
    folder = await mkdtemp(join(tmpdir(), 'zerda-skaffold-'));
    const file = join(folder, 'images.json');
    const builds = [...imagesIn(readInstallation().images)].map(([service, { repository, tag }]) => ({
      imageName: `zerda/${service}`,
      tag: `${repository}:${tag}`,
    }));
    assert.equal(builds.length, services.length);
    await writeFile(file, JSON.stringify({ builds }));
    return file;
  }

  it('deploys the chart, and verify passes', async () => {
    const images = await writeBuildArtifacts();
    await skaffold('deploy', '--build-artifacts', images, '--port-forward=off');
    await waitForRollouts(namespace);
    await skaffold('verify', '--build-artifacts', images);
  });

  it('debug opens the debugger port in each pod, and uninstalls when it ends', async (t) => {
    const canBuild = await run('docker', ['buildx', 'version']).then(
      () => true,
      () => false,
    );
    if (!canBuild) return t.skip('docker buildx, with which skaffold builds, does not respond');
    const child = spawn('skaffold', ['debug', '--port-forward=off'], { cwd: root, stdio: 'ignore' });
    try {
      await eventually(() => waitForRollouts(namespace), 'ready deployments', installMs);
      for (const deployment of deployments) {
        const script = `fetch('http://127.0.0.1:9229/json/version').then((response) => response.text()).then(console.log)`;
        const node = ['/nodejs/bin/node', '--eval', script];
        assert.match(
          await kubectl(['exec', `deployment/${deployment}`, '--namespace', namespace, '--', ...node]),
          /node\.js/,
        );
      }
    } finally {
      child.kill('SIGINT');
    }
    await exitCodeOf(child);
    assert.deepEqual((await get(namespace, 'deployments')).items, []);
  });

  it('deploys the profile raw without Helm, with the secrets of k8s/secrets/kustomization.yaml', async () => {
    const copied: string[] = [];
    try {
      for (const name of await secretFiles()) {
        const file = join(root, 'k8s/secrets', name);
        await copyFile(join(root, 'k8s/secrets/example.env'), file, constants.COPYFILE_EXCL).then(
          () => copied.push(file),
          (error: NodeJS.ErrnoException) => assert.equal(error.code, 'EEXIST'),
        );
      }
      const images = await writeBuildArtifacts();
      await skaffold('deploy', '--profile', 'raw', '--build-artifacts', images, '--port-forward=off');
      await waitForRollouts(namespace);
      assert.equal(
        await kubectl([
          'get',
          'secrets',
          '--namespace',
          namespace,
          '--selector',
          'owner=helm',
          '--output',
          'name',
        ]),
        '',
      );
    } finally {
      await Promise.all(copied.map((file) => rm(file)));
    }
  });
}

async function skaffold(...args: readonly string[]): Promise<void> {
  await run('skaffold', args, { cwd: root, timeout: installMs, maxBuffer: 16 * 1024 * 1024 });
}
