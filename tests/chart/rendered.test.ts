import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import {
  findCommand,
  kubernetesVersions,
  renderedFiles,
  render as renderText,
} from '../../scripts/lib/chart.ts';
import { root } from '../../scripts/lib/services.ts';
import { serveCluster } from './lib/cluster-api.ts';
import { describeWithHelm, type Manifest } from './lib/helm.ts';

const run = promisify(execFile);

const profiles: Readonly<Record<string, readonly string[]>> = {
  default: [],
  dev: ['--values', 'charts/zerda/values-dev.yaml'],
  prod: ['--values', 'charts/zerda/values-prod.yaml'],
  bundled: ['--values', 'tests/chart/golden/bundled.values.yaml'],
  full: ['--values', 'charts/zerda/values-prod.yaml', '--values', 'tests/chart/golden/full.values.yaml'],
};

const [kubeconform, kubectl] = await Promise.all(['kubeconform', 'kubectl'].map(findCommand));

await describeWithHelm('rendered manifests', ({ command: helm }) => {
  it('match the files in tests/chart/golden and k8s/', async () => {
    for (const [path, content] of await renderedFiles(helm)) {
      const stored = await readFile(join(root, path), 'utf8');
      assert.equal(stored.replaceAll('\r\n', '\n'), content, `${path} is out of date: run npm run generate`);
    }
  });

  for (const [name, args] of Object.entries(profiles)) {
    it(`pass helm lint --strict (${name})`, async () => {
      const { stdout } = await run(
        helm,
        ['lint', '--strict', 'charts/zerda', '--kube-version', kubernetesVersions.oldest, ...args],
        { cwd: root },
      );
      assert.match(stdout, /1 chart\(s\) linted, 0 chart\(s\) failed/);
    });
  }

  it('are the same from the packaged chart', async (t: TestContext) => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-chart-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    await run(helm, ['package', 'charts/zerda', '--destination', folder], { cwd: root });
    const args = profiles.prod ?? [];
    const [file = ''] = await readdir(folder);
    const packed = await renderText(helm, { chart: join(folder, file), args });
    assert.equal(packed, await renderText(helm, { args }));
  });

  testSchemas(helm, kubeconform);
});

/**
 * Validates the rendered manifests with kubeconform. KUBECONFORM_SCHEMAS is its `-schema-location`; `default` downloads the schemas
 * from the internet.
 */
function testSchemas(helm: string, kubeconform: string | undefined): void {
  const location = process.env.KUBECONFORM_SCHEMAS;
  if (location === undefined) {
    it(
      'match the schemas of Kubernetes: skipped, KUBECONFORM_SCHEMAS is not set',
      { skip: true },
      () => undefined,
    );
    return;
  }
  for (const version of Object.values(kubernetesVersions)) {
    for (const [name, args] of Object.entries(profiles)) {
      it(`match the schemas of Kubernetes ${version} (${name})`, async (t: TestContext) => {
        assert.ok(kubeconform, 'KUBECONFORM_SCHEMAS is set, but kubeconform is not on the PATH');
        const folder = await mkdtemp(join(tmpdir(), 'zerda-chart-'));
        t.after(() => rm(folder, { recursive: true, force: true }));
        const file = join(folder, 'rendered.yaml');
        const cluster = await serveCluster();
        await writeFile(file, await renderText(helm, { args: [...cluster, ...args], kubernetes: version }));
        await validate(kubeconform, file, { version, location });
      });
    }
    for (const variant of ['observability', 'observability-vlagent'])
      it(`match the schemas of Kubernetes ${version} (k8s/${variant})`, async () => {
        assert.ok(kubeconform, 'KUBECONFORM_SCHEMAS is set, but kubeconform is not on the PATH');
        const folder = join(root, 'k8s', variant);
        const files = (await readdir(folder)).filter((name) => !/^kustomization|-config\.yaml$/.test(name));
        for (const name of files) await validate(kubeconform, join(folder, name), { version, location });
      });
  }
}

async function validate(
  kubeconform: string,
  file: string,
  { version, location }: { readonly version: string; readonly location: string },
): Promise<void> {
  const validation = run(kubeconform, [
    ...['-strict', '-summary', '-kubernetes-version', version, '-schema-location', location],
    // Custom resources.
    ...['-skip', 'HTTPRoute,ServiceMonitor,PrometheusRule'],
    file,
  ]);
  const { stdout } = await validation.catch((error: { stdout: string }) => error);
  assert.match(stdout, /Valid: [1-9]\d*, Invalid: 0, Errors: 0/, stdout.slice(0, 2000));
}

/** Tests the overlays for logs and traces as kustomize builds them. */
function testOverlays(kubectl: string): void {
  for (const variant of ['observability', 'observability-vlagent'])
    it(`k8s/${variant} limits its pods`, async () => {
      const { stdout } = await run(kubectl, ['kustomize', join(root, 'k8s', variant)]);
      const objects: Manifest[] = parseAllDocuments(stdout).map((document) => document.toJSON());
      const pods = objects.flatMap(({ spec }) => (spec?.template ? [spec.template.spec] : []));
      assert.equal(pods.length, 3);
      for (const { containers, securityContext } of pods)
        for (const { name, image, resources, securityContext: own, volumeMounts } of containers) {
          assert.match(image, /^docker\.io\/[^:]+:v?\d+\.\d+\.\d+$/);
          assert.ok(resources.requests.cpu && resources.requests.memory && resources.limits.memory, name);
          assert.deepEqual(own, {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
          assert.equal(securityContext.seccompProfile.type, 'RuntimeDefault');
          for (const mount of volumeMounts)
            assert.ok(
              mount.readOnly === true || mount.name === 'data',
              `${name} can write to ${mount.mountPath}`,
            );
        }
      for (const { kind, metadata } of objects)
        if (!/^(Namespace|ClusterRole.*)$/.test(kind)) assert.equal(metadata.namespace, 'observability');
      // Each pod is the subject of a policy besides the one that denies everything.
      const policies = objects.filter(({ kind }) => kind === 'NetworkPolicy');
      for (const { kind, spec } of objects.filter(({ spec }) => spec?.template)) {
        const name = spec.template.metadata.labels['app.kubernetes.io/name'];
        const selected = policies.filter(
          ({ spec: { podSelector } }) => podSelector.matchLabels?.['app.kubernetes.io/name'] === name,
        );
        assert.ok(selected.length > 0, `${kind} ${name} has no network policy`);
      }
      assert.ok(policies.some(({ spec }) => Object.keys(spec.podSelector).length === 0));
    });
}

if (kubectl === undefined) {
  it('k8s/ is built by kustomize: skipped, kubectl is not on the PATH', { skip: true }, () => undefined);
} else {
  testOverlays(kubectl);
  it('k8s/ is built by kustomize, with the passwords of its files', async (t: TestContext) => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-k8s-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    await cp(join(root, 'k8s'), folder, { recursive: true });
    for (const service of ['user-service', 'order-service'])
      await writeFile(join(folder, 'secrets', `${service}.env`), `password=of ${service}\n`);
    for (const name of ['events', 'management'])
      await writeFile(join(folder, 'secrets', `${name}.env`), `secret=${'s'.repeat(32)}\n`);
    await writeFile(join(folder, 'secrets', 'auth.env'), `key-secret=${'k'.repeat(32)}\nadmin-password=p\n`);
    const { stdout } = await run(kubectl, ['kustomize', folder]);
    const objects: Manifest[] = parseAllDocuments(stdout).map((document) => document.toJSON());
    for (const service of ['user-service', 'order-service']) {
      const statefulSet = objects.find(
        ({ kind, metadata }) => kind === 'StatefulSet' && metadata.name === `zerda-${service}-postgresql`,
      );
      const reference = statefulSet.spec.template.spec.containers[0].env.find(
        ({ name }: Manifest) => name === 'POSTGRES_PASSWORD',
      ).valueFrom.secretKeyRef;
      const secret = objects.find(
        ({ kind, metadata }) => kind === 'Secret' && metadata.name === reference.name,
      );
      assert.equal(Buffer.from(secret.data[reference.key], 'base64').toString(), `of ${service}`);
    }
    for (const { kind, metadata } of objects) {
      if (kind !== 'Namespace') assert.equal(metadata.namespace, 'zerda', `${kind} ${metadata.name}`);
    }
  });
}
