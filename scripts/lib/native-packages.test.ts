import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { bundle } from './bundler.ts';
import { copyNativePackages } from './native-packages.ts';
import { bundleFile, root, type ServiceName } from './services.ts';

/** Runs a bundle with an unknown command in an otherwise empty folder, and returns how it ends. */
function run(file: string): Promise<{ code: unknown; errors: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [file, 'dance'], (error, _output, errors) =>
      resolve({ code: error?.code, errors }),
    );
  });
}

it('runs a bundle outside the repository with exactly the native packages that it needs', async (t) => {
  const dist = await mkdtemp(join(tmpdir(), 'zerda-native-'));
  t.after(() => rm(dist, { recursive: true, force: true }));
  const names: ServiceName[] = ['user-service', 'order-service'];
  await bundle(names);
  for (const name of names) {
    await cp(join(root, 'dist', name), join(dist, name), {
      recursive: true,
      filter: (source) => !source.includes('node_modules'),
    });
  }
  const before = await run(bundleFile('user-service', dist));
  assert.match(before.errors, /Cannot find package '@node-rs\/argon2'/);
  for (const name of names) {
    await copyNativePackages(name, dist);
    const { code, errors } = await run(bundleFile(name, dist));
    assert.equal(code, 78, errors);
    assert.match(errors, /Unknown command "dance"/);
  }
  assert.ok(!(await readdir(join(dist, 'order-service'))).includes('node_modules'));
});
