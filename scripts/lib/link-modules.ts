import { mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from './services.ts';

/** Links the installed packages into a copy of the repository. Packages of the workspace are those of the copy. */
export async function linkModules(folder: string): Promise<void> {
  const packages = await readdir(join(folder, 'packages'));
  const modulesOfPackages = packages.map((name) => join('packages', name, 'node_modules'));
  for (const modules of ['node_modules', ...modulesOfPackages]) {
    const entries = await readdir(join(root, modules)).catch(() => []);
    if (entries.length > 0) await mkdir(join(folder, modules));
    for (const entry of entries.filter((name) => name !== '@zerda'))
      await symlink(join(root, modules, entry), join(folder, modules, entry), 'junction');
  }
  await mkdir(join(folder, 'node_modules/@zerda'));
  for (const name of packages)
    await symlink(join(folder, 'packages', name), join(folder, 'node_modules/@zerda', name), 'junction');
}
