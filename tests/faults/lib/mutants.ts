import { mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';
import { bundle } from '../../../scripts/lib/bundler.ts';
import { root, services } from '../../../scripts/lib/services.ts';

/** A change of one text of a source, for a bundle that is to be wrong. */
export interface Change {
  /** File below `packages/`. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** A new folder for bundles, below `dist/`: what is external to them is found from there. Who makes it removes it. */
export async function makeDist(): Promise<string> {
  const parent = join(root, 'dist');
  await mkdir(parent, { recursive: true });
  return mkdtemp(join(parent, 'faults-'));
}

/**
 * Bundles all services into a folder, with changes that the sources do not have.
 * @throws Error when a text that is to be changed is not there, or not just once: the change would test nothing
 */
export async function bundleAll(dist: string, changes: readonly Change[] = []): Promise<void> {
  const files = new Map<string, string>();
  for (const { file, from, to } of changes) {
    const path = join(root, 'packages', file);
    const text = files.get(path) ?? (await readFile(path, 'utf8'));
    if (text.split(from).length !== 2) throw new Error(`${file} has not just once:\n${from}`);
    files.set(
      path,
      text.replace(from, () => to),
    );
  }
  const folders = { packages: join(root, 'packages'), dist };
  await bundle(
    services.map(({ name }) => name),
    folders,
    [changed(files)],
  );
}

function changed(files: ReadonlyMap<string, string>): Plugin {
  return {
    name: 'changed',
    setup(setup) {
      setup.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const contents = files.get(path);
        return contents === undefined ? undefined : { contents, loader: 'ts' };
      });
    },
  };
}
