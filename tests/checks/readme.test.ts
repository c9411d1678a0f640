import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import packageJson from '../../package.json' with { type: 'json' };
import { banner } from '../../scripts/lib/banner.ts';
import { planSystem, root } from '../../scripts/lib/services.ts';

/** Commands of npm itself. */
const builtIn = new Set(['ci', 'install']);

const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...(await pagesBelow('docs'))];

async function pagesBelow(folder: string): Promise<string[]> {
  const files = await readdir(join(root, folder), { recursive: true });
  return files
    .filter((file) => file.endsWith('.md'))
    .map((file) => `${folder}/${file.replaceAll('\\', '/')}`);
}

/** The anchors that GitHub gives the headings of a page. */
async function headingAnchors(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8');
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

for (const page of pages) {
  describe(page, () => {
    it('names only npm commands of package.json', async () => {
      const text = await readFile(join(root, page), 'utf8');
      for (const [command, , script = ''] of text.matchAll(/\bnpm (run )?([a-z][a-z0-9:-]*)/g)) {
        if (!builtIn.has(script)) assert.ok(Object.hasOwn(packageJson.scripts, script), command);
      }
    });

    it('links to files and headings that exist', async () => {
      const text = await readFile(join(root, page), 'utf8');
      for (const [, link = '', heading] of text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)) {
        const target = link === '' ? join(root, page) : join(root, dirname(page), link);
        assert.ok(existsSync(target), link);
        if (heading === undefined) continue;
        const headings = await headingAnchors(target);
        assert.ok(headings.includes(heading), `${link}#${heading}`);
      }
    });
  });
}

describe('README.md', () => {
  it('has at most 160 lines', async () => {
    const text = await readFile(join(root, 'README.md'), 'utf8');
    assert.ok(text.trimEnd().split('\n').length <= 160);
  });

  it('shows the commands that start and test the system', async () => {
    const text = await readFile(join(root, 'README.md'), 'utf8');
    assert.match(text, /^npm ci && npm start\b/m);
    assert.match(text, /^npm ci && npm test\b/m);
  });

  it('shows the output of npm start', async () => {
    const text = await readFile(join(root, 'README.md'), 'utf8');
    const [, documented = ''] = /^```text\n(zerda is ready in .*?)^```$/ms.exec(text) ?? [];
    const linesOf = (output: string) =>
      output
        .replace(/ready in [0-9.]+ s/, 'ready in … s')
        .split('\n')
        .map((line) => line.replaceAll(/ +/g, ' ').trim())
        .filter((line) => line !== '');
    const printed = linesOf(banner({ plan: planSystem({}), startedInMs: 1 }));
    const lines = linesOf(documented);
    // A further service prints a further line.
    assert.deepEqual(
      printed.filter((line) => lines.includes(line)),
      lines,
    );
    assert.match(documented, /Stop/);
  });
});

describe('docs/dependencies.md', () => {
  it('has a row for every dependency and no other', async () => {
    const text = await readFile(join(root, 'docs/dependencies.md'), 'utf8');
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
    const expected = new Set(
      manifests
        .flatMap(({ dependencies, devDependencies }) => Object.keys({ ...dependencies, ...devDependencies }))
        .filter((name) => !name.startsWith('@zerda/') && !name.startsWith('@types/')),
    );
    const documented = [...text.matchAll(/^\| `([^`]+)` \|/gm)].map((row) => row[1] ?? '');
    assert.deepEqual(documented.toSorted(), [...expected].sort());
  });
});
