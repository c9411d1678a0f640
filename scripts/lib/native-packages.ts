import { cp, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bundleFile, root, type ServiceName } from './services.ts';

/** Packages with native code. They cannot be bundled, so they are copied next to the bundle. */
const nativePackages = ['@node-rs/argon2'];

/** Copies the native packages that a bundle imports, as installed for this platform, into its `node_modules`. */
export async function copyNativePackages(name: ServiceName, dist = join(root, 'dist')): Promise<void> {
  const bundle = bundleFile(name, dist);
  const text = await readFile(bundle, 'utf8');
  const target = join(dirname(dirname(bundle)), 'node_modules');
  await rm(target, { recursive: true, force: true });
  for (const native of nativePackages.filter((packageName) => text.includes(`from "${packageName}"`))) {
    for (const folder of await withPlatforms(native)) {
      await cp(join(root, 'node_modules', folder), join(target, folder), { recursive: true });
    }
  }
}

/** Returns the package and its installed platform packages, such as `argon2` and `argon2-linux-x64-gnu`. */
async function withPlatforms(native: string): Promise<string[]> {
  const scope = dirname(native);
  const folders = await readdir(join(root, 'node_modules', scope));
  return folders
    .map((folder) => `${scope}/${folder}`)
    .filter((folder) => folder === native || folder.startsWith(`${native}-`));
}
