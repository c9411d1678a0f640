import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// Runs after every `npm ci`, also without development dependencies or git. The hooks are optional, so this script must
// never fail an installation.
const root = fileURLToPath(new URL('..', import.meta.url));
const lefthook = fileURLToPath(new URL('../node_modules/lefthook/bin/index.js', import.meta.url));

if (!process.env.CI && existsSync(lefthook) && isOwnWorkTree()) {
  const { status } = spawnSync(process.execPath, [lefthook, 'install'], { cwd: root, stdio: 'ignore' });
  if (status !== 0) console.warn('The git hooks were not installed. Run "npx lefthook install" to see why.');
}

/** Returns whether this folder is the root of a Git work tree, and not a copy inside another repository. */
function isOwnWorkTree() {
  const { status, stdout } = spawnSync('git', ['rev-parse', '--show-prefix'], {
    cwd: root,
    encoding: 'utf8',
  });
  return status === 0 && stdout.trim() === '';
}
