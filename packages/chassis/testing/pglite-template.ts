import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database } from '../src/database/database.ts';
import { migratePglite } from '../src/database/migrations.ts';
import { openPglite } from '../src/database/pglite-database.ts';

/**
 * Returns an archive of a migrated database, from which an embedded database opens in a fifth of the CPU time of a new one
 * that is migrated. Created once per process, or once per run of `npm test`, which sets TEST_TEMPLATE_DIR to a folder that
 * its processes share.
 * @param migrations folder of migrations; an empty database if undefined
 * @param load writes rows, always the same for these migrations; no rows by default
 */
export function migratedTemplate(migrations: URL | undefined, load?: LoadRows): Promise<Uint8Array> {
  const key = `${migrations?.href ?? 'empty'} ${load === undefined ? '' : 'with rows'}`;
  const template = templates.get(key) ?? loadTemplate(migrations, load);
  templates.set(key, template);
  return template;
}

type LoadRows = (database: Database) => Promise<void>;

const templates = new Map<string, Promise<Uint8Array>>();

async function loadTemplate(migrations: URL | undefined, load?: LoadRows): Promise<Uint8Array> {
  const folder = process.env.TEST_TEMPLATE_DIR;
  if (folder === undefined) return createTemplate(migrations, load);
  const file = join(folder, `${await hashOf(migrations)}${load === undefined ? '' : '-with-rows'}.tar`);
  const stored = await readFile(file).catch(() => undefined);
  if (stored !== undefined) return stored;
  const created = await createTemplate(migrations, load);
  // With a rename, so that another process never reads a part of it.
  const temporary = `${file}.${randomUUID()}`;
  await writeFile(temporary, created);
  await rename(temporary, file);
  return created;
}

async function createTemplate(migrations: URL | undefined, load?: LoadRows): Promise<Uint8Array> {
  const database = await openPglite();
  try {
    const { lite } = database;
    if (migrations !== undefined) await migratePglite(lite, { folder: migrations, apply: true });
    await load?.(database);
    // Two thirds of the files belong to the databases that `create database` copies, which no test does.
    await lite.query('update pg_database set datistemplate = false');
    for (const name of ['template0', 'template1']) await lite.query(`drop database ${name}`);
    return new Uint8Array(await (await lite.dumpDataDir('none')).arrayBuffer());
  } finally {
    await database.close();
  }
}

async function hashOf(migrations: URL | undefined): Promise<string> {
  const hash = createHash('sha256');
  if (migrations !== undefined) {
    for (const name of (await readdir(migrations)).sort())
      hash.update(`${name}\n`).update(await readFile(new URL(name, migrations)));
  }
  return hash.digest('hex');
}
