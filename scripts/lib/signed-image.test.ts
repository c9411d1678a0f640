import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { describeIf, type ServerProcess, startServer } from '../../packages/chassis/testing/server.ts';
import { copyManifests, manifestsFolder } from './bundled-packages.ts';
import { bundle } from './bundler.ts';
import { findCommand } from './chart.ts';
import { captureOutput } from './child-process.ts';
import type { DeployedService } from './deployments.ts';
import type { Command } from './images.ts';
import { copyNativePackages } from './native-packages.ts';
import { root, versionOf } from './services.ts';
import { signImage, verifyDeployment, verifyImage } from './signed-image.ts';

const service = 'user-service';
const build = {
  unit: service,
  version: versionOf(service),
  source: 'https://git.example/you/zerda',
  commit: 'c'.repeat(40),
  builder: 'https://git.example/you/zerda/workflow',
};
const requirement = { title: 'cosign, crane and registry', required: 'REQUIRE_COSIGN' };
const installed = await Promise.all(['cosign', 'crane', 'registry'].map(findCommand));
const isAvailable = installed.every((file) => file !== undefined);

describeIf(isAvailable, requirement, 'signed images', () => {
  let folder: string;
  let registry: ServerProcess;
  let repository: string;
  /** Image of the service, with its digest. */
  let image: string;

  const run = (...command: Command) =>
    captureOutput(command, { cwd: folder, env: { ...process.env, COSIGN_PASSWORD: '' } });
  const key = { private: () => join(folder, 'cosign.key'), public: () => join(folder, 'cosign.pub') };

  /** Adds a folder to an image and pushes it. Returns the new image with its digest. */
  async function push(content: string, tag: string, base: readonly string[]): Promise<string> {
    await run('tar', '-cf', `${tag}.tar`, '-C', content, '.');
    const target = `${repository}:${tag}`;
    await run('crane', 'append', '--insecure', ...base, '--new_layer', `${tag}.tar`, '--new_tag', target);
    return `${repository}@${(await run('crane', 'digest', '--insecure', target)).trim()}`;
  }

  /** Pushes the image with one more file: another image, as an attacker with access to the registry may do. */
  async function pushChanged(tag: string): Promise<string> {
    const content = join(folder, tag);
    await mkdir(content);
    await writeFile(join(content, 'tag.txt'), tag);
    return push(content, tag, ['--base', image]);
  }

  /** Copies the signature and attestations of an image to another one. */
  async function copySignature(from: string, to: string): Promise<void> {
    const nameOf = (name: string): string => name.replace('@sha256:', ':sha256-');
    await run('crane', 'copy', '--insecure', nameOf(from), nameOf(to));
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-signed-'));
    process.env.COSIGN_PASSWORD = '';
    const program = { title: 'registry', names: ['registry'], required: 'REQUIRE_COSIGN' };
    registry = await startServer(program, {
      url: (port) => `localhost:${port}`,
      prepare: ({ port }) => ['-port', String(port)],
      connect: (url) => fetch(`http://${url}/v2/`),
    });
    repository = `${registry.url}/zerda/${service}`;
    await run('cosign', 'generate-key-pair');
    const dist = join(folder, 'dist');
    await bundle([service], { packages: join(root, 'packages'), dist }, [copyManifests([service], dist)]);
    await copyNativePackages(service, dist);
    const app = join(folder, 'image/app');
    // As in the Dockerfile.
    await cp(join(dist, service), app, { recursive: true });
    await cp(manifestsFolder(service, dist), join(app, 'node_modules'), { recursive: true });
    image = await push(join(folder, 'image'), '1.0.0', ['--oci-empty-base']);
    await signImage(image, build, { key: key.private() });
  });

  after(async () => {
    delete process.env.COSIGN_PASSWORD;
    await registry?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('are verified with their packages and source', async () => {
    const { packages, ...verified } = await verifyImage(image, { key: key.public() });
    const { version, source, commit } = build;
    assert.deepEqual(verified, { unit: service, version, source, commit });
    assert.ok(packages !== undefined && packages > 50, `${packages} packages`);
  });

  it('have an SBOM with exactly the packages in the image, with versions and licenses', async () => {
    const output = await run(
      ...(['cosign', 'verify-attestation', '--type', 'cyclonedx', '--key', key.public()] as const),
      ...['--insecure-ignore-tlog', '--allow-http-registry', image],
    );
    const { payload } = JSON.parse(output.split('\n').find((line) => line.startsWith('{')) ?? '{}');
    const { components } = JSON.parse(Buffer.from(payload, 'base64').toString()).predicate;
    const files = await readdir(join(folder, 'image/app/node_modules'), { recursive: true });
    const manifests = files
      .filter((file) => file.endsWith('package.json'))
      .map(async (file) => JSON.parse(await readFile(join(folder, 'image/app/node_modules', file), 'utf8')));
    const expected = (await Promise.all(manifests)).map(({ name, version }) => `${name}@${version}`);
    const found = (
      components as { group?: string; name: string; version: string; licenses: unknown[] }[]
    ).map(({ group, name, version, licenses }) => {
      assert.equal(licenses.length, 1, name);
      return `${group === undefined ? '' : `${group}/`}${name}@${version}`;
    });
    assert.deepEqual(found.sort(), [...new Set(expected)].sort());
    assert.ok(found.some((name) => name.startsWith('@node-rs/argon2@')));
  });

  it('may be the packaged chart, which has no SBOM', async () => {
    const target = `${registry.url}/charts/zerda`;
    await run('crane', 'copy', '--insecure', image, `${target}:0.1.0`);
    const chart = `${target}@${image.slice(image.indexOf('@') + 1)}`;
    await signImage(chart, { ...build, unit: 'chart', version: '0.1.0' }, { key: key.private() });
    const { unit, version, packages } = await verifyImage(chart, { key: key.public() });
    assert.deepEqual({ unit, version, packages }, { unit: 'chart', version: '0.1.0', packages: undefined });
  });

  it('are what an environment runs, each by its digest and in the version of its file', async () => {
    const digest = image.slice(image.indexOf('@') + 1);
    const verify = (deployed: DeployedService) =>
      verifyDeployment(new Map([[service, deployed]]), `${registry.url}/`, { key: key.public() });
    const [verified] = await verify({ version: build.version, digest });
    assert.equal(verified?.unit, service);
    await assert.rejects(verify({ version: build.version }), { exitCode: 78, message: /has no digest/ });
    await assert.rejects(verify({ version: '9.9.9', digest }), /was built as .*, not as 9\.9\.9/);
  });

  it('are refused by tag, which can be overwritten', async () => {
    await assert.rejects(verifyImage(`${repository}:1.0.0`, { key: key.public() }), { exitCode: 78 });
  });

  it('are refused without a signature', async () => {
    const unsigned = await pushChanged('unsigned');
    await assert.rejects(verifyImage(unsigned, { key: key.public() }), /^.*The signature of .* is not valid/);
  });

  it('are refused after a change, with the signature of the original', async () => {
    const tampered = await pushChanged('tampered');
    await copySignature(image, tampered);
    await assert.rejects(verifyImage(tampered, { key: key.public() }), /artifact digest does not match/);
  });

  it('are refused with the signature of another key', async () => {
    const other = join(folder, 'other');
    await mkdir(other);
    await captureOutput(['cosign', 'generate-key-pair'], { cwd: other });
    await assert.rejects(
      verifyImage(image, { key: join(other, 'cosign.pub') }),
      /The signature of .* is not valid/,
    );
  });

  it('are refused without provenance and SBOM', async () => {
    const bare = await pushChanged('bare');
    const config = join(folder, 'signing-config.json');
    await run('cosign', 'signing-config', 'create', '--out', config);
    await run(
      ...(['cosign', 'sign', '--yes', '--key', key.private(), '--signing-config', config] as const),
      ...['--allow-http-registry', bare],
    );
    await assert.rejects(verifyImage(bare, { key: key.public() }), /The provenance of .* is not valid/);
  });

  it('are refused as another service', async () => {
    const gateway = image.replace(service, 'gateway');
    await run('crane', 'copy', '--insecure', image, gateway.replace(/@.*/, ':1.0.0'));
    await copySignature(image, gateway);
    await assert.rejects(verifyImage(gateway, { key: key.public() }), /is signed as user-service/);
  });
});
