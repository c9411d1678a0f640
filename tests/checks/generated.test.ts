import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { problemCodes, problemTypes } from '../../packages/contracts/src/problems.ts';
import { findDrift, generatedFiles, serviceVariables } from '../../scripts/checks/generated.ts';
import { root, services } from '../../scripts/lib/services.ts';

describe('the check of generated files', () => {
  const files = [...generatedFiles()];
  let copy: string;

  before(async () => {
    copy = await mkdtemp(join(tmpdir(), 'zerda-generated-'));
  });

  after(() => rm(copy, { recursive: true, force: true }));

  async function write(changed: Record<string, string | Buffer> = {}): Promise<void> {
    for (const [path, content] of files) {
      await mkdir(dirname(join(copy, path)), { recursive: true });
      await writeFile(join(copy, path), changed[path] ?? content);
    }
  }

  it('passes for generated files with any line endings', async () => {
    const content = generatedFiles().get('docs/problems.md');
    await write({ 'docs/problems.md': String(content).replaceAll('\n', '\r\n') });
    assert.deepEqual(await findDrift(copy), []);
  });

  for (const [path, content] of files) {
    it(`names ${path} when it differs in one ${typeof content === 'string' ? 'word' : 'bit'}`, async () => {
      await write({ [path]: changed(content) });
      assert.deepEqual(await findDrift(copy), [`${path} has drifted: npm run generate`]);
    });
  }

  function changed(content: string | Buffer): string | Buffer {
    if (typeof content === 'string') return content.replace(/[a-z]+/, 'other');
    const copied = Buffer.from(content);
    copied.writeUInt8(copied.readUInt8(1000) ^ 1, 1000);
    return copied;
  }

  it('names a file that is missing', async () => {
    await write();
    await rm(join(copy, 'docs/configuration.md'));
    assert.deepEqual(await findDrift(copy), ['docs/configuration.md is missing: npm run generate']);
  });

  it('passes for the repository', async () => {
    assert.deepEqual(await findDrift(), []);
  });
});

describe('docs/problems.md', () => {
  it('has exactly one row for each problem type, with its status', async () => {
    const page = await readFile(join(root, 'docs/problems.md'), 'utf8');
    const rows = [...page.matchAll(/^\| `\/problems\/([a-z-]+)` \| (\d{3}) \|/gm)].map((row) => [
      row[1],
      row[2],
    ]);
    assert.deepEqual(
      rows,
      problemCodes.map((code) => [code, String(problemTypes[code].status)]),
    );
  });
});

describe('environment variables', () => {
  for (const [service, variables] of serviceVariables) {
    it(`of ${service} are documented, each with a description`, async () => {
      const page = await readFile(join(root, 'docs/configuration.md'), 'utf8');
      const section = page.split('\n## ').find((part) => part.startsWith(`${service}\n`)) ?? '';
      assert.ok(variables.length > 0);
      for (const { name, description } of variables) {
        assert.match(description, /\S.*\.$/, name);
        assert.match(section, new RegExp(`^\\| \`${name}\` \\|`, 'm'));
      }
    });
  }

  for (const { name, port, managementPort } of services) {
    it(`of ${name} have the ports of its package.json as defaults`, () => {
      const defaultOf = (variable: string) =>
        serviceVariables.get(name)?.find((described) => described.name === variable)?.default;
      assert.deepEqual(['PORT', 'MANAGEMENT_PORT'].map(defaultOf), [port, managementPort].map(String));
    });
  }

  it('are read only by the configuration schemas', async () => {
    const folders = await readdir(join(root, 'packages'));
    const readers: string[] = [];
    for (const folder of folders) {
      const source = join(root, 'packages', folder, 'src');
      for (const file of await readdir(source, { recursive: true })) {
        if (!file.endsWith('.ts') || /(\.test|[\\/]?testing[^\\/]*)\.ts$/.test(file)) continue;
        const code = await readFile(join(source, file), 'utf8');
        for (const [read] of code.matchAll(/process\.env(\.\w+|\[[^\]]+\])/g))
          readers.push(`${file}: ${read}`);
      }
    }
    assert.deepEqual(readers, []);
  });
});
