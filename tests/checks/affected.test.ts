import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { appendFile, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { services } from '../../scripts/lib/services.ts';
import { copyRepository, type RepositoryCopy } from '../kit/repository-copy.ts';

const names = services.map(({ name }) => name).sort();

describe('npm run affected', () => {
  let copy: RepositoryCopy;
  let initial: ReadonlyMap<string, string>;

  const affected = async (): Promise<{ services: string[]; areas: string[] }> =>
    JSON.parse((await copy.script('affected', '--base', 'HEAD', '--json')).stdout);

  /** Builds all services and returns the hash of each bundle with its assets and manifests. */
  async function build(): Promise<ReadonlyMap<string, string>> {
    assert.equal((await copy.script('build')).code, 0);
    return new Map(
      await Promise.all(
        names.map(async (name): Promise<[string, string]> => {
          const hash = createHash('sha256');
          for (const part of [name, join('bundled-packages', name)]) {
            const files = await readdir(join(copy.folder, 'dist', part), {
              recursive: true,
              withFileTypes: true,
            });
            const paths = files
              .filter((file) => file.isFile())
              .map((file) => join(file.parentPath, file.name));
            for (const path of paths.sort()) hash.update(path).update(await readFile(path));
          }
          return [name, hash.digest('hex')];
        }),
      ),
    );
  }

  before(async () => {
    copy = await copyRepository();
    initial = await build();
  });

  after(() => copy.remove());

  for (const [file, expected] of [
    ['packages/order-service/src/domain/place-order.ts', ['order-service']],
    ['packages/events/src/relay.ts', ['order-service', 'user-service']],
  ] as const) {
    it(`names the services whose bundle a change of ${file} changes, and no other bundle changes`, async () => {
      await appendFile(join(copy.folder, file), '\nconsole.debug("changed");\n');
      try {
        const result = await affected();
        assert.deepEqual([...result.services].sort(), expected);
        const bundles = await build();
        const changed = names.filter((name) => bundles.get(name) !== initial.get(name));
        assert.deepEqual(changed, expected);
      } finally {
        await copy.git('checkout', '--quiet', '.');
      }
    });
  }
});
