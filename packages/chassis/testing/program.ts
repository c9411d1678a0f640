import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * Returns the arguments of Node that run a TypeScript program. `npm test` bundles some programs into the folder TEST_BUNDLES, and a bundle
 * starts in a third of the CPU time of its sources, which tsx runs.
 * @param program URL of the source
 */
export function programArgs(program: URL): string[] {
  const source = fileURLToPath(program);
  const folder = process.env.TEST_BUNDLES;
  const bundle = folder && join(folder, relative(root, source).replace(/\.ts$/, '.mjs'));
  return bundle && existsSync(bundle) ? ['--enable-source-maps', bundle] : ['--import', 'tsx', source];
}
