import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Metafile, Plugin } from 'esbuild';
import { bundleFile, root, type ServiceName } from './services.ts';

/** Members of a manifest that scanners and readers need. */
const manifestMembers = [
  'name',
  'version',
  'description',
  'license',
  'licenses',
  'author',
  'repository',
  'homepage',
];

/** The path of a `node_modules` folder: that of the repository, which may be elsewhere if it is a link, or that of a package. */
const pathOfModules = /^.*?(?:packages\/([^/]+)\/)?node_modules\//;

/** Returns the folders of the npm packages whose code is in an output of esbuild, relative to the repository. */
export function findBundledPackages({ inputs }: Metafile['outputs'][string]): string[] {
  const folders = Object.entries(inputs)
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    .map(([file]) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0])
    .filter((folder) => folder !== undefined);
  return [...new Set(folders)].sort();
}

/** Returns the folder of the manifests of a service's bundle. */
export function manifestsFolder(name: ServiceName, dist = join(root, 'dist')): string {
  return join(dist, 'bundled-packages', name);
}

/**
 * Copies the manifests and license texts of bundled packages into a folder of their own for each service. The image has them as
 * `node_modules`: scanners find packages by their manifests, and licenses require that their text is distributed. They are not
 * next to the bundle in `dist/`, where they would hide the installed packages from `npm start`.
 * @param names services of the build
 * @param dist target folder of the build; `dist/` by default
 */
export function copyManifests(names: readonly ServiceName[], dist?: string): Plugin {
  return {
    name: 'copy-manifests',
    setup({ initialOptions, onEnd }) {
      // Only this plugin needs it, and npm start builds faster without it.
      initialOptions.metafile = true;
      onEnd(async ({ metafile }) => {
        for (const name of names) {
          const output = metafile?.outputs[relative(root, bundleFile(name, dist))];
          if (output !== undefined)
            await copyManifestsOf(findBundledPackages(output), manifestsFolder(name, dist));
        }
      });
    },
  };
}

async function copyManifestsOf(packages: readonly string[], target: string): Promise<void> {
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true });
  for (const path of packages) {
    const source = join(root, path);
    const manifest = JSON.parse(await readFile(join(source, 'package.json'), 'utf8')) as object;
    const members = Object.entries(manifest).filter(([member]) => manifestMembers.includes(member));
    const copy = join(
      target,
      path.replace(pathOfModules, (_, owner) => (owner ? `${owner}/node_modules/` : '')),
    );
    await mkdir(copy, { recursive: true });
    await writeFile(join(copy, 'package.json'), `${JSON.stringify(Object.fromEntries(members), null, 2)}\n`);
    const texts = (await readdir(source)).filter((file) => /^(?:licen[cs]e|notice|copying)/i.test(file));
    for (const file of texts) await cp(join(source, file), join(copy, file), { recursive: true });
  }
}
