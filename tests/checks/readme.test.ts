import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import packageJson from '../../package.json' with { type: 'json' };
import { root } from '../../scripts/lib/services.ts';

/** Commands of npm itself that stand without `run`. */
const builtIn = new Set(['ci', 'install']);

const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...(await pagesBelow('docs'))];

async function pagesBelow(folder: string): Promise<string[]> {
  const files = await readdir(join(root, folder), { recursive: true });
  return files
    .filter((file) => file.endsWith('.md'))
    .map((file) => `${folder}/${file.replaceAll('\\', '/')}`);
}

for (const page of pages) {
  describe(page, () => {
    it('names no npm command that package.json does not have', async () => {
      const text = await readFile(join(root, page), 'utf8');
      for (const [command, , script = ''] of text.matchAll(/\bnpm (run )?([a-z][a-z0-9:-]*)/g)) {
        if (!builtIn.has(script)) assert.ok(Object.hasOwn(packageJson.scripts, script), command);
      }
    });

    it('links to files that exist', async () => {
      const text = await readFile(join(root, page), 'utf8');
      for (const [, link = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)) {
        assert.ok(existsSync(join(root, dirname(page), link)), link);
      }
    });
  });
}

describe('README.md', () => {
  it('gives the two commands that a newcomer needs', async () => {
    const text = await readFile(join(root, 'README.md'), 'utf8');
    assert.match(text, /^npm ci && npm start\b/m);
    assert.match(text, /^npm ci && npm test\b/m);
  });

  it('explains every dependency, and none that is not there', async () => {
    const text = await readFile(join(root, 'README.md'), 'utf8');
    const packages = await readdir(join(root, 'packages'));
    const manifests = await Promise.all(
      ['package.json', ...packages.map((name) => `packages/${name}/package.json`)].map(
        async (file) =>
          JSON.parse(await readFile(join(root, file), 'utf8')) as {
            dependencies?: Record<string, string>;
            devDependencies?: Record<string, string>;
          },
      ),
    );
    const wanted = new Set(
      manifests
        .flatMap(({ dependencies, devDependencies }) => Object.keys({ ...dependencies, ...devDependencies }))
        .filter((name) => !name.startsWith('@zerda/') && !name.startsWith('@types/')),
    );
    const section = text.slice(text.indexOf('\n## Dependencies'));
    const named = [...section.matchAll(/^\| `([^`]+)` \|/gm)].map((row) => row[1] ?? '');
    assert.deepEqual(named.toSorted(), [...wanted].sort());
  });
});
