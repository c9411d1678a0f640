import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { buildCommand, imageValues, planDelivery, tagOf } from './images.ts';
import { root, services } from './services.ts';

describe('image build', () => {
  it('passes only the configured base images and secrets', () => {
    assert.deepEqual(buildCommand('docker', 'gateway', { idFile: '/tmp/id', version: '1.2.3' }), [
      ...['docker', 'build', '--target', 'runtime', '--iidfile', '/tmp/id', '--tag', 'zerda/gateway:local'],
      ...['--build-arg', 'SERVICE=gateway', '--build-arg', 'VERSION=1.2.3', '.'],
    ]);
    const command = buildCommand('buildah', 'user-service', {
      target: 'dev',
      idFile: 'id',
      version: '1.2.3',
      baseImages: { node: 'mirror/node:24', runtime: '' },
      secrets: { npmrc: '/home/me/.npmrc', authorities: undefined },
    }).join(' ');
    assert.match(command, /^buildah build --layers --target dev /);
    assert.match(command, /--build-arg NODE_IMAGE=mirror\/node:24/);
    assert.match(command, /--secret id=npmrc,src=\/home\/me\/\.npmrc \.$/);
    assert.doesNotMatch(command, /RUNTIME_IMAGE|authorities/);
  });

  it('derives the tag from the image id', () => {
    assert.equal(tagOf('sha256:0123456789abcdef\n'), 'local-0123456789ab');
    assert.equal(tagOf('0123456789abcdef'), 'local-0123456789ab');
  });
});

describe('docker-bake.override.hcl', () => {
  it('lists the services', async () => {
    const text = await readFile(join(root, 'docker-bake.override.hcl'), 'utf8');
    const [, list = '[]'] = /variable "SERVICES" \{ default = (\[.*\]) \}/.exec(text) ?? [];
    assert.deepEqual(JSON.parse(list).sort(), services.map(({ name }) => name).sort());
  });
});

describe('image delivery', () => {
  const plan = (builder: 'docker' | 'buildah', context: string, registry?: string) => {
    const { repository, commands } = planDelivery('gateway', 't', {
      builder,
      context,
      registry,
      folder: '/f',
    });
    return [repository, ...commands.map((command) => command.join(' '))];
  };

  it('uses the registry when one is set, for any cluster', () => {
    assert.deepEqual(plan('docker', 'kind-x', 'ghcr.io/me/'), [
      'ghcr.io/me/zerda/gateway',
      'docker tag zerda/gateway:local ghcr.io/me/zerda/gateway:t',
      'docker push --quiet ghcr.io/me/zerda/gateway:t',
    ]);
    assert.deepEqual(plan('buildah', 'prod', 'localhost:5000'), [
      'localhost:5000/zerda/gateway',
      'buildah push --quiet --tls-verify=false zerda/gateway:local docker://localhost:5000/zerda/gateway:t',
    ]);
    assert.doesNotMatch(plan('buildah', 'prod', 'localhost.example')[1] ?? '', /tls-verify/);
  });

  it('uses the loader of kind or minikube, with an archive when Docker is not available', () => {
    assert.deepEqual(plan('docker', 'kind-zerda'), [
      'zerda/gateway',
      'docker tag zerda/gateway:local zerda/gateway:t',
      'kind load docker-image --name zerda zerda/gateway:t',
    ]);
    assert.deepEqual(plan('docker', 'minikube').at(-1), 'minikube image load zerda/gateway:t');
    assert.deepEqual(plan('buildah', 'kind-zerda').slice(1), [
      'buildah push --quiet zerda/gateway:local docker-archive:/f/gateway.tar:docker.io/zerda/gateway:t',
      'kind load image-archive --name zerda /f/gateway.tar',
    ]);
    assert.equal(plan('buildah', 'minikube').at(-1), 'minikube image load /f/gateway.tar');
  });

  it('needs no transfer for clusters on the local Docker daemon and rejects other contexts', () => {
    assert.deepEqual(plan('docker', 'docker-desktop'), [
      'zerda/gateway',
      'docker tag zerda/gateway:local zerda/gateway:t',
    ]);
    assert.throws(() => plan('docker', 'prod'), { exitCode: 78, message: /Set REGISTRY/ });
    assert.throws(() => plan('buildah', 'docker-desktop'), { exitCode: 78 });
  });

  it('sets the image values of the chart', () => {
    assert.deepEqual(imageValues(new Map([['gateway', { repository: 'r/zerda/gateway', tag: 't' }]])), [
      '--set-string',
      'gateway.image.repository=r/zerda/gateway,gateway.image.tag=t',
    ]);
  });
});
