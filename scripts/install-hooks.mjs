import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// Runs after every `npm ci`, also where there are no development dependencies or no git: hooks are a convenience of
// whoever commits, so nothing here may fail an installation.
const root = fileURLToPath(new URL('..', import.meta.url));
const lefthook = fileURLToPath(new URL('../node_modules/lefthook/bin/index.js', import.meta.url));

if (!process.env.CI && existsSync(lefthook) && isOwnWorkTree()) {
  const { status } = spawnSync(process.execPath, [lefthook, 'install'], { cwd: root, stdio: 'ignore' });
  if (status !== 0) console.warn('The git hooks are not installed; npx lefthook install tells why.');
}

/** Not merely inside some work tree: a copy of this project in another repository is none of that one's hooks. */
function isOwnWorkTree() {
  const { status, stdout } = spawnSync('git', ['rev-parse', '--show-prefix'], {
    cwd: root,
    encoding: 'utf8',
  });
  return status === 0 && stdout.trim() === '';
}
