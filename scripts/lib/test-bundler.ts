import { readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { root } from './services.ts';

/**
 * Bundles test files into `folder`, which gets the layout of the repository: `a/b.test.ts` becomes `a/b.test.mjs`. Sources that
 * several files import become shared chunks, so each is transpiled once for all test processes and loads without tsx.
 * npm packages are imported from where they are installed.
 * @param files relative to the repository
 * @throws StartupError when a build fails; esbuild has printed the errors
 */
export async function bundleTests(files: readonly string[], folder: string): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: files.map((file) => ({ in: join(root, file), out: outputName(file) })),
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    // Without the condition `module`, which Node does not know.
    conditions: [],
    define: { 'import.meta.url': moduleUrl },
    plugins: [installedPackages, sourceLocations],
    // Error messages show the names of classes, and coverage counts unused functions.
    keepNames: true,
    treeShaking: false,
    sourcemap: true,
    sourcesContent: false,
    logLevel: 'warning',
  }).catch(() => {
    throw new StartupError('Bundling the tests failed. See the errors above.');
  });
}

/** Returns the path of a bundled test file. */
export function bundledTest(file: string, folder: string): string {
  return join(folder, `${outputName(file)}.mjs`);
}

/** A file outside the repository stays in the output folder, as esbuild does it. */
function outputName(file: string): string {
  return file.replace(/\.ts$/, '').replaceAll('..', '_.._');
}

/** Name of the constant that replaces `import.meta.url`. */
const moduleUrl = 'sourceModuleUrl';

/** Keeps `import.meta.url` the URL of the source, next to which the code finds its files. */
const sourceLocations: Plugin = {
  name: 'source-locations',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      if (!source.includes('import.meta.url')) return { contents: source, loader: 'ts' };
      // On the first line, so that line numbers stay the same.
      const url = JSON.stringify(pathToFileURL(path).href);
      return { contents: `const ${moduleUrl} = ${url};${source}`, loader: 'ts' };
    });
  },
};

/** Imports npm packages by URL, since the importer is bundled into another folder. */
const installedPackages: Plugin = {
  name: 'installed-packages',
  setup({ onResolve, resolve }) {
    onResolve({ filter: /^[^./]/ }, async ({ path, kind, importer, resolveDir, pluginData }) => {
      if (kind === 'entry-point' || path.startsWith('@zerda/') || pluginData === installedPackages)
        return undefined;
      if (isBuiltin(path)) return { path, external: true };
      const found = await resolve(path, { kind, importer, resolveDir, pluginData: installedPackages });
      if (found.errors.length > 0) return found;
      return { path: pathToFileURL(found.path).href, external: true };
    });
  },
};
