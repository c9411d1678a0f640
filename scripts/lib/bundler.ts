import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { type BuildContext, type BuildOptions, build, context, type Plugin } from 'esbuild';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { bundleFile, root, type ServiceName } from './services.ts';

export interface Bundle {
  readonly name: ServiceName;
  /** Size of the JavaScript, without its source map. */
  readonly bytes: number;
  /** False when the bundle and the assets on disk were the same already. */
  readonly changed: boolean;
}

/** Where services are read from and bundles written to. Default: `packages/` and `dist/`. */
export interface BundleFolders {
  readonly packages: string;
  readonly dist: string;
}

const standardFolders: BundleFolders = { packages: join(root, 'packages'), dist: join(root, 'dist') };

/** What a service reads when it runs, beside its code: files and folders of its package that bundles get a copy of. */
const assets = ['migrations', 'routes.yaml', 'common-passwords.bloom'];

/**
 * Bundles services, each into `dist/<service>/`: `bin/main.mjs` with its source map, and a copy of its assets. What they
 * share is read once for all.
 * @param plugins plugins of esbuild, for bundles that are to differ from the sources; none by default
 * @throws StartupError when one does not build; esbuild has printed why.
 */
export async function bundle(
  names: readonly ServiceName[],
  folders = standardFolders,
  plugins: Plugin[] = [],
): Promise<Bundle[]> {
  const { outputFiles } = await build({ ...options(names, folders), plugins }).catch(() => {
    throw new StartupError(`${names.join(', ')} could not be bundled, see above.`);
  });
  return Promise.all(
    names.map((name) => {
      const file = bundleFile(name, folders.dist);
      return save(
        name,
        folders,
        outputFiles.filter(({ path }) => path === file || path === `${file}.map`),
      );
    }),
  );
}

/**
 * Bundles a service again whenever one of its sources or assets changes.
 * A build that fails is printed by esbuild and leaves the last bundle as it is.
 */
export async function watchBundle(
  name: ServiceName,
  { onBundle, onFailure }: { onBundle: (bundle: Bundle) => void; onFailure: () => void },
  folders = standardFolders,
): Promise<BuildContext> {
  const report: Plugin = {
    name: 'report',
    setup(setup) {
      setup.onEnd(async ({ errors, outputFiles = [] }) => {
        if (errors.length > 0) onFailure();
        else onBundle(await save(name, folders, outputFiles));
      });
    },
  };
  const watched = await context({
    ...options([name], folders),
    plugins: [watchAssets(name, folders), report],
  });
  await watched.watch();
  return watched;
}

function options(names: readonly ServiceName[], { packages, dist }: BundleFolders) {
  return {
    absWorkingDir: root,
    entryPoints: names.map((name) => ({
      in: join(packages, name, 'src', 'main.ts'),
      out: bundleFile(name, dist).replace(/\.mjs$/, ''),
    })),
    outdir: dist,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    // PGlite finds its WebAssembly beside its own files; drizzle's part for it imports it, which in one bundle would be at
    // the start and not when it is used. pg asks for pg-native only when told to. argon2 is native code.
    external: ['@electric-sql/pglite', 'drizzle-orm/pglite', 'pg-native', '@node-rs/argon2'],
    // CommonJS dependencies still call require for what Node itself brings; the name differs from any in the sources.
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module';const require = requireFrom(import.meta.url);",
    },
    sourcemap: true,
    sourcesContent: false,
    minifySyntax: true,
    logLevel: 'warning',
  } as const satisfies BuildOptions;
}

/** esbuild watches what it reads; the assets are read by nobody, so the entry point declares them. */
function watchAssets(name: ServiceName, { packages }: BundleFolders): Plugin {
  const folder = join(packages, name);
  const entry = join(folder, 'src', 'main.ts');
  return {
    name: 'watch-assets',
    setup(setup) {
      setup.onLoad({ filter: /[\\/]main\.ts$/ }, async ({ path }) => {
        if (path !== entry) return undefined;
        const files = await assetFiles(folder);
        const folders = new Set(files.map((file) => dirname(join(folder, file))));
        folders.delete(folder);
        return {
          contents: await readFile(entry),
          loader: 'ts',
          watchFiles: [entry, ...files.map((file) => join(folder, file))],
          watchDirs: [...folders],
        };
      });
    },
  };
}

/** Writes what differs from the disk, each file by a rename, so that a process starting now reads a whole bundle. */
async function save(
  name: ServiceName,
  { packages, dist }: BundleFolders,
  outputs: readonly { path: string; contents: Uint8Array }[],
): Promise<Bundle> {
  const source = join(packages, name);
  const target = join(dist, name);
  const assetsDiffer = (await hashAssets(source)) !== (await hashAssets(target));
  if (assetsDiffer) {
    await Promise.all(assets.map((asset) => rm(join(target, asset), { recursive: true, force: true })));
    for (const file of await assetFiles(source)) {
      await cp(join(source, file), join(target, file), { recursive: true });
    }
  }
  const written = await Promise.all(outputs.map(({ path, contents }) => writeIfChanged(path, contents)));
  const code = outputs.find(({ path }) => path.endsWith('.mjs'));
  return { name, bytes: code?.contents.byteLength ?? 0, changed: assetsDiffer || written.includes(true) };
}

async function writeIfChanged(path: string, contents: Uint8Array): Promise<boolean> {
  const before = await readFile(path).catch(() => undefined);
  if (before && hash(before) === hash(contents)) return false;
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, contents);
  await rename(temporary, path);
  return true;
}

async function hashAssets(folder: string): Promise<string> {
  const files = await assetFiles(folder);
  const parts = await Promise.all(
    files.map(async (file) => `${file} ${hash(await readFile(join(folder, file)))}`),
  );
  return parts.join('\n');
}

/** Files of the assets that a folder has, relative to it. */
async function assetFiles(folder: string): Promise<string[]> {
  const found = await Promise.all(
    assets.map(async (asset) => {
      const path = join(folder, asset);
      const kind = await stat(path).catch(() => undefined);
      if (!kind?.isDirectory()) return kind === undefined ? [] : [asset];
      const entries = await readdir(path, { recursive: true, withFileTypes: true });
      return entries
        .filter((entry) => entry.isFile())
        .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
    }),
  );
  return found.flat().sort();
}

const hash = (contents: Uint8Array): string => createHash('sha256').update(contents).digest('hex');
