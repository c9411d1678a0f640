import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import pg from 'pg';
import { z } from 'zod';
import { databaseVariables } from '../config/common-variables.ts';
import { loadConfig } from '../config/load-config.ts';
import { databaseUrl } from './database-url.ts';

function urlOf(environment: Record<string, string>): string | undefined {
  return databaseUrl(loadConfig(z.object(databaseVariables()), environment));
}

describe('databaseUrl', () => {
  it('is DATABASE_URL, or nothing when no database is named', () => {
    assert.equal(urlOf({ DATABASE_URL: 'postgres://a/b' }), 'postgres://a/b');
    assert.equal(urlOf({}), undefined);
  });

  it('is made of its parts, whatever characters a password has', () => {
    const url = urlOf({
      DATABASE_HOST: 'users-db',
      DATABASE_NAME: 'users',
      DATABASE_USER: 'us er',
      DATABASE_PASSWORD: 'p@ss/w:o#r?d%20',
      DATABASE_PARAMETERS: 'application_name=zerda',
    });
    const client = new pg.Client({ connectionString: url });
    assert.deepEqual(
      [client.host, client.port, client.database, client.user, client.password],
      ['users-db', 5432, 'users', 'us er', 'p@ss/w:o#r?d%20'],
    );
    assert.match(url ?? '', /\?application_name=zerda$/);
  });

  it('is refused when both are set, without a word of what they hold', () => {
    assert.throws(() => urlOf({ DATABASE_URL: 'postgres://u:secret@a/b', DATABASE_HOST: 'c' }), {
      exitCode: 78,
      message: 'DATABASE_URL and DATABASE_HOST are both set: set one of them',
    });
  });
});
