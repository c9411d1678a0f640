import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Ajv } from 'ajv';
import { parse, parseAllDocuments } from 'yaml';
import { root, services } from '../../scripts/lib/services.ts';

/** Configuration files of third-party tools and the files of their JSON schemas in the folder SCHEMAS. */
const files = {
  'skaffold.yaml': 'skaffold-v4beta13.json',
  'compose.yaml': 'compose-spec.json',
} as const;

// The tests check the shape of these files, so they have no type.
// biome-ignore lint/suspicious/noExplicitAny: see above
async function read(file: string): Promise<any> {
  return parse(await readFile(join(root, file), 'utf8'), { merge: true });
}

describe('skaffold.yaml and compose.yaml', () => {
  for (const [file, schemaFile] of Object.entries(files)) {
    const folder = process.env.SCHEMAS;
    if (folder === undefined) {
      it(`${file} matches its schema: skipped, SCHEMAS is not set`, { skip: true }, () => undefined);
      continue;
    }
    it(`${file} matches its schema`, async () => {
      // The schemas name older drafts than Ajv supports, but use nothing that differs.
      const { $schema: _, ...schema } = JSON.parse(await readFile(join(folder, schemaFile), 'utf8'));
      const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
      const validate = ajv.compile(schema);
      assert.equal(validate(await read(file)), true, ajv.errorsText(validate.errors));
      assert.equal(
        validate({ ...(await read(file)), bogus: true }),
        false,
        'the schema accepts unknown members',
      );
    });
  }

  it('build every service, each from its own folder', async () => {
    const names = services.map(({ name }) => name).sort();
    const { build, profiles } = await read('skaffold.yaml');
    const hot = profiles.find(({ name }: { name: string }) => name === 'hot');
    for (const { artifacts } of [build, hot.build]) {
      const built = artifacts.map(
        ({ image, docker }: { image: string; docker: { buildArgs: { SERVICE: string } } }) => {
          assert.equal(image, `zerda/${docker.buildArgs.SERVICE}`);
          return docker.buildArgs.SERVICE;
        },
      );
      assert.deepEqual(built.sort(), names);
    }
    const compose = await read('compose.yaml');
    const composed = Object.entries(
      compose.services as Record<string, { build?: { args: { SERVICE: string } } }>,
    )
      .filter(([, service]) => service.build !== undefined)
      .map(([name, service]) => {
        assert.equal(service.build?.args.SERVICE, name);
        return name;
      });
    assert.deepEqual(composed.sort(), names);
  });

  it('deploy without Helm in the profile raw', async () => {
    const { deploy, profiles } = await read('skaffold.yaml');
    const raw = profiles.find(({ name }: { name: string }) => name === 'raw');
    assert.deepEqual(Object.keys(raw.deploy).sort(), ['kubectl', 'statusCheckDeadlineSeconds']);
    // Skaffold merges a profile's deployers with the default ones, so the profile must remove those.
    const removed = raw.patches.filter(({ op }: { op: string }) => op === 'remove');
    const deployers = Object.keys(deploy).filter((key) => key !== 'statusCheckDeadlineSeconds');
    assert.deepEqual(
      removed.map(({ path }: { path: string }) => path),
      deployers.map((deployer) => `/deploy/${deployer}`),
    );
  });

  it('set the same memory limit and heap size as the chart', async () => {
    const { services: composed } = await read('compose.yaml');
    const manifests = parseAllDocuments(await readFile(join(root, 'k8s/zerda.yaml'), 'utf8'));
    const deployments = manifests
      .map((document) => document.toJS())
      .filter(({ kind }) => kind === 'Deployment');
    for (const { name } of services) {
      const deployment = deployments.find(({ metadata }) => metadata.name === `zerda-${name}`);
      const [{ resources, env }] = deployment.spec.template.spec.containers;
      assert.equal(`${composed[name].mem_limit}i`, resources.limits.memory.toLowerCase());
      const { value } = env.find((variable: { name: string }) => variable.name === 'NODE_OPTIONS');
      assert.equal(composed[name].environment.NODE_OPTIONS, value);
    }
  });
});
