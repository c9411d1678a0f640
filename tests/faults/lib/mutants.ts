import { mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';
import { bundle } from '../../../scripts/lib/bundler.ts';
import { root, services } from '../../../scripts/lib/services.ts';

/** A replacement in a source file that introduces a bug. */
export interface Change {
  /** File below `packages/`. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** Creates a folder for bundles below `dist/`, where their external dependencies resolve. The caller removes it. */
export async function makeDist(): Promise<string> {
  const parent = join(root, 'dist');
  await mkdir(parent, { recursive: true });
  return mkdtemp(join(parent, 'faults-'));
}

/**
 * Bundles all services with changed sources.
 * @throws Error when a text to replace does not occur exactly once
 */
export async function bundleAll(dist: string, changes: readonly Change[] = []): Promise<void> {
  const files = new Map<string, string>();
  for (const { file, from, to } of changes) {
    const path = join(root, 'packages', file);
    const text = files.get(path) ?? (await readFile(path, 'utf8'));
    if (text.split(from).length !== 2)
      throw new Error(`${file} must contain this text exactly once:\n${from}`);
    files.set(
      path,
      text.replace(from, () => to),
    );
  }
  const folders = { packages: join(root, 'packages'), dist };
  await bundle(
    services.map(({ name }) => name),
    folders,
    [replaceSources(files)],
  );
}

function replaceSources(files: ReadonlyMap<string, string>): Plugin {
  return {
    name: 'replace-sources',
    setup(setup) {
      setup.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const contents = files.get(path);
        return contents === undefined ? undefined : { contents, loader: 'ts' };
      });
    },
  };
}
