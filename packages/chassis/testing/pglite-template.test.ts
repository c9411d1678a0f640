import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { sql } from 'drizzle-orm';
import { migratePglite } from '../src/database/migrations.ts';
import { openPglite, type PgliteDatabase } from '../src/database/pglite-database.ts';
import { rowsOf } from '../src/database/rows-of.ts';
import { migratedTemplate } from './pglite-template.ts';

describe('databases opened from a template', () => {
  let folder: string;
  let migrations: URL;
  const shared = process.env.TEST_TEMPLATE_DIR;
  const opened: PgliteDatabase[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-template-'));
    migrations = pathToFileURL(`${await mkdtemp(join(folder, 'migrations-'))}/`);
    await writeFile(new URL('0001_things.sql', migrations), 'create table things (name text);');
    process.env.TEST_TEMPLATE_DIR = folder;
    // A Buffer, as later processes of a run read it.
    const archive = Buffer.from(await migratedTemplate(migrations));
    for (const _ of ['first', 'second']) opened.push(await openPglite(undefined, async () => archive));
  });
  after(async () => {
    if (shared === undefined) delete process.env.TEST_TEMPLATE_DIR;
    else process.env.TEST_TEMPLATE_DIR = shared;
    for (const database of opened) await database.close();
    await rm(folder, { recursive: true });
  });

  it('have all migrations', async () => {
    for (const { lite } of opened) await migratePglite(lite, { folder: migrations, apply: false });
  });

  it('do not share rows', async () => {
    const [first, second] = opened;
    await first?.query((db) => db.execute(sql`insert into things values ('one')`));
    assert.deepEqual(await second?.query((db) => rowsOf<unknown>(db, sql`select name from things`)), []);
  });

  it('use the one archive that the processes of a run share', async () => {
    const archives = (await readdir(folder)).filter((name) => name.includes('.tar'));
    assert.equal(archives.length, 1);
    assert.match(archives[0] ?? '', /^[0-9a-f]{64}\.tar$/);
  });
});
