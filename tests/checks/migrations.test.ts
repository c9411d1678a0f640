import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { root, services } from '../../scripts/lib/services.ts';

const chassis = join(root, 'packages/chassis/src');

/** Tables that chassis works on and services own: a migration of each is its copy, and changes of it come in later files. */
const originals: Readonly<Record<string, string>> = {
  idempotency_keys: join(chassis, 'idempotency/idempotency-table.sql'),
  outbox: join(chassis, 'events/tables/1_outbox.sql'),
  inbox: join(chassis, 'events/tables/2_inbox.sql'),
};

for (const { name } of services.filter(({ hasDatabase }) => hasDatabase)) {
  it(`migrations of ${name} make the tables of chassis as chassis has them`, async () => {
    const folder = join(root, 'packages', name, 'migrations');
    const files = await readdir(folder);
    let compared = 0;
    for (const [table, original] of Object.entries(originals)) {
      const copy = files.find((file) => file.replace(/^\d+_/, '') === `${table}.sql`);
      if (copy === undefined) continue;
      assert.equal(await readFile(join(folder, copy), 'utf8'), await readFile(original, 'utf8'), copy);
      compared += 1;
    }
    assert.ok(compared >= 2, `${compared} copies found`);
  });
}
