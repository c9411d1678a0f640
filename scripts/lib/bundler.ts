import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { type BuildContext, type BuildOptions, build, context, type Plugin } from 'esbuild';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { bundleFile, root, type ServiceName } from './services.ts';

export interface Bundle {
  readonly name: ServiceName;
  /** Size of the JavaScript, without its source map. */
  readonly bytes: number;
  /** Whether the bundle or the assets differ from those that were on disk. */
  readonly changed: boolean;
}

/** Source and target folder of bundles; `packages/` and `dist/` by default. */
export interface BundleFolders {
  readonly packages: string;
  readonly dist: string;
}

const defaultFolders: BundleFolders = { packages: join(root, 'packages'), dist: join(root, 'dist') };

/** Files and folders of a package that a service reads at run time. They are copied next to the bundle. */
const assets = ['migrations', 'routes.yaml', 'common-passwords.bloom'];

/**
 * Bundles services, each into `dist/<service>/`: `bin/main.mjs` with its source map, and a copy of its assets. One build
 * reads shared sources once.
 * @param plugins esbuild plugins that change the sources; none by default
 * @throws StartupError when a build fails; esbuild has printed the errors
 */
export async function bundle(
  names: readonly ServiceName[],
  folders = defaultFolders,
  plugins: Plugin[] = [],
): Promise<Bundle[]> {
  const { outputFiles } = await build({ ...options(names, folders), plugins }).catch(() => {
    throw new StartupError(`Bundling ${names.join(', ')} failed. See the errors above.`);
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
 * Bundles a service now and whenever one of its sources or assets changes. If a build fails, esbuild prints the errors and
 * the last bundle stays unchanged.
 */
export async function watchBundle(
  name: ServiceName,
  { onBundle, onFailure }: { onBundle: (bundle: Bundle) => void; onFailure: () => void },
  folders = defaultFolders,
): Promise<BuildContext> {
  const reportPlugin: Plugin = {
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
    plugins: [watchAssets(name, folders), reportPlugin],
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
    // The ES modules of OpenTelemetry are a quarter of the size of its CommonJS modules.
    mainFields: ['module', 'main'],
    // PGlite loads its files from its own folders, and drizzle-orm/pglite would import it at startup if bundled.
    // pg-native is an optional dependency of pg. argon2 is native code.
    external: [
      '@electric-sql/pglite',
      '@electric-sql/pglite-prepopulatedfs',
      'drizzle-orm/pglite',
      'pg-native',
      '@node-rs/argon2',
    ],
    // CommonJS dependencies call require for Node's built-in modules. The import name must not occur in the sources.
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module';const require = requireFrom(import.meta.url);",
    },
    sourcemap: true,
    sourcesContent: false,
    minifySyntax: true,
    logLevel: 'warning',
  } as const satisfies BuildOptions;
}

/** Watches the assets. esbuild watches only files that it reads, so the entry point declares the assets. */
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

/**
 * Writes changed files only, each with a rename, so that a process that starts meanwhile reads complete files. Other processes may save the
 * same bundle at the same time.
 */
async function save(
  name: ServiceName,
  { packages, dist }: BundleFolders,
  outputs: readonly { path: string; contents: Uint8Array }[],
): Promise<Bundle> {
  const source = join(packages, name);
  const target = join(dist, name);
  const files = await assetFiles(source);
  const copies = await Promise.all(
    files.map(async (file) => ({ path: join(target, file), contents: await readFile(join(source, file)) })),
  );
  const written = await Promise.all([...copies, ...outputs].map((file) => writeIfChanged(file, target)));
  const removed = (await assetFiles(target)).filter((file) => !files.includes(file));
  await Promise.all(removed.map((file) => rm(join(target, file), { force: true })));
  const code = outputs.find(({ path }) => path.endsWith('.mjs'));
  return {
    name,
    bytes: code?.contents.byteLength ?? 0,
    changed: removed.length > 0 || written.includes(true),
  };
}

/** @param folder folder of the temporary file, which must not contain files of the bundle: another process would remove it */
async function writeIfChanged(
  { path, contents }: { path: string; contents: Uint8Array },
  folder: string,
): Promise<boolean> {
  const current = await readFile(path).catch(() => undefined);
  if (current?.equals(contents)) return false;
  await mkdir(dirname(path), { recursive: true });
  const temporary = join(folder, `${randomUUID()}.tmp`);
  await writeFile(temporary, contents);
  await rename(temporary, path);
  return true;
}

/** Returns the asset files of a folder, relative to it. */
async function assetFiles(folder: string): Promise<string[]> {
  const paths = await Promise.all(
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
  return paths.flat().sort();
}
