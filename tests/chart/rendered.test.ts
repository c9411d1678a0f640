import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
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
import { serveCluster } from './testing-cluster-api.ts';
import { describeWithHelm, type Manifest } from './testing-helm.ts';

const run = promisify(execFile);

const profiles: Readonly<Record<string, readonly string[]>> = {
  default: [],
  dev: ['--values', 'charts/zerda/values-dev.yaml'],
  prod: ['--values', 'charts/zerda/values-prod.yaml'],
  bundled: ['--values', 'tests/chart/golden/bundled.values.yaml'],
  full: ['--values', 'tests/chart/golden/full.values.yaml'],
};

const [kubeconform, kubectl] = await Promise.all(['kubeconform', 'kubectl'].map(findCommand));

await describeWithHelm('what is rendered', ({ command: helm }) => {
  it('is kept as it is: the profiles, and the manifests of k8s/', async () => {
    for (const [path, content] of await renderedFiles(helm)) {
      const kept = await readFile(join(root, path), 'utf8');
      assert.equal(kept.replaceAll('\r\n', '\n'), content, `${path} has drifted: npm run generate`);
    }
  });

  for (const [name, args] of Object.entries(profiles)) {
    it(`passes helm lint --strict (${name})`, async () => {
      const { stdout } = await run(
        helm,
        ['lint', '--strict', 'charts/zerda', '--kube-version', kubernetesVersions.oldest, ...args],
        { cwd: root },
      );
      assert.match(stdout, /1 chart\(s\) linted, 0 chart\(s\) failed/);
    });
  }

  it('packs into one archive that renders the same', async (t: TestContext) => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-chart-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    await run(helm, ['package', 'charts/zerda', '--destination', folder], { cwd: root });
    const args = profiles.prod ?? [];
    const packed = await renderText(helm, { chart: join(folder, 'zerda-0.1.0.tgz'), args });
    assert.equal(packed, await renderText(helm, { args }));
  });

  testSchemas(helm, kubeconform);
});

/**
 * KUBECONFORM_SCHEMAS is where kubeconform finds the schemas, as its -schema-location; `default` is where it looks by itself,
 * on the internet.
 */
function testSchemas(helm: string, kubeconform: string | undefined): void {
  const location = process.env.KUBECONFORM_SCHEMAS;
  if (location === undefined) {
    it(
      'fits the schemas of Kubernetes: skipped, KUBECONFORM_SCHEMAS is not set',
      { skip: true },
      () => undefined,
    );
    return;
  }
  for (const version of Object.values(kubernetesVersions)) {
    for (const [name, args] of Object.entries(profiles)) {
      it(`fits the schemas of Kubernetes ${version} (${name})`, async (t: TestContext) => {
        assert.ok(kubeconform, 'KUBECONFORM_SCHEMAS is set, but kubeconform is not on the PATH');
        const folder = await mkdtemp(join(tmpdir(), 'zerda-chart-'));
        t.after(() => rm(folder, { recursive: true, force: true }));
        const file = join(folder, 'rendered.yaml');
        const cluster = await serveCluster();
        await writeFile(file, await renderText(helm, { args: [...cluster, ...args], kubernetes: version }));
        const checked = run(kubeconform, [
          ...['-strict', '-summary', '-kubernetes-version', version, '-schema-location', location],
          // Kinds that Kubernetes itself does not bring.
          ...['-skip', 'HTTPRoute,ServiceMonitor'],
          file,
        ]);
        const { stdout } = await checked.catch((error: { stdout: string }) => error);
        assert.match(stdout, /Valid: [1-9]\d*, Invalid: 0, Errors: 0/, stdout.slice(0, 2000));
      });
    }
  }
}

if (kubectl === undefined) {
  it('k8s/ is built by kustomize: skipped, kubectl is not on the PATH', { skip: true }, () => undefined);
} else {
  it('k8s/ is built by kustomize, with the passwords of its files', async (t: TestContext) => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-k8s-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    await cp(join(root, 'k8s'), folder, { recursive: true });
    for (const service of ['user-service', 'order-service'])
      await writeFile(join(folder, 'secrets', `${service}.env`), `password=of ${service}\n`);
    await writeFile(join(folder, 'secrets', 'events.env'), `secret=${'s'.repeat(32)}\n`);
    await writeFile(join(folder, 'secrets', 'auth.env'), `key-secret=${'k'.repeat(32)}\nadmin-password=p\n`);
    const { stdout } = await run(kubectl, ['kustomize', folder]);
    const objects: Manifest[] = parseAllDocuments(stdout).map((document) => document.toJSON());
    for (const service of ['user-service', 'order-service']) {
      const statefulSet = objects.find(
        ({ kind, metadata }) => kind === 'StatefulSet' && metadata.name === `zerda-${service}-postgresql`,
      );
      const wanted = statefulSet.spec.template.spec.containers[0].env.find(
        ({ name }: Manifest) => name === 'POSTGRES_PASSWORD',
      ).valueFrom.secretKeyRef;
      const secret = objects.find(({ kind, metadata }) => kind === 'Secret' && metadata.name === wanted.name);
      assert.equal(Buffer.from(secret.data[wanted.key], 'base64').toString(), `of ${service}`);
    }
    for (const { kind, metadata } of objects) {
      if (kind !== 'Namespace') assert.equal(metadata.namespace, 'zerda', `${kind} ${metadata.name}`);
    }
  });
}
