import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { blueprints, root, services } from '../../scripts/lib/services.ts';

const chassis = join(root, 'packages/chassis/src');
const events = join(root, 'packages/events/src');

/** Tables that chassis and events use and services own. A migration of each service is a copy of the original; later files change the table. */
const originals: Readonly<Record<string, string>> = {
  loaded_data: join(chassis, 'database/tables/1_loaded_data.sql'),
  verification_keys: join(chassis, 'database/tables/2_verification_keys.sql'),
  idempotency_keys: join(chassis, 'idempotency/idempotency-table.sql'),
  outbox: join(events, 'tables/1_outbox.sql'),
  inbox: join(events, 'tables/2_inbox.sql'),
  dead_letter_source: join(events, 'tables/3_dead_letter_source.sql'),
};

for (const { name } of [...services, ...blueprints].filter(({ database }) => database)) {
  it(`migrations of ${name} create the tables of chassis from identical copies`, async () => {
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
