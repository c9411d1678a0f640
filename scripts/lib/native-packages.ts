import { cp, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bundleFile, root, type ServiceName } from './services.ts';

/** Packages with native code: no bundle can hold them, so they stand beside it where it runs without this repository. */
const nativePackages = ['@node-rs/argon2'];

/** Puts the native packages that a bundle imports, as they are installed for this platform, into its `node_modules`. */
export async function copyNativePackages(name: ServiceName, dist = join(root, 'dist')): Promise<void> {
  const bundle = bundleFile(name, dist);
  const text = await readFile(bundle, 'utf8');
  const target = join(dirname(dirname(bundle)), 'node_modules');
  await rm(target, { recursive: true, force: true });
  for (const native of nativePackages.filter((one) => text.includes(`from "${one}"`))) {
    for (const folder of await withPlatforms(native)) {
      await cp(join(root, 'node_modules', folder), join(target, folder), { recursive: true });
    }
  }
}

/** The package, and that of each platform it is installed for, which stand beside it: `argon2` and `argon2-linux-x64-gnu`. */
async function withPlatforms(native: string): Promise<string[]> {
  const scope = dirname(native);
  const folders = await readdir(join(root, 'node_modules', scope));
  return folders
    .map((folder) => `${scope}/${folder}`)
    .filter((folder) => folder === native || folder.startsWith(`${native}-`));
}
