import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import pg from 'pg';
import { z } from 'zod';
import { databaseVariables } from '../config/common-variables.ts';
import { loadConfig } from '../config/load-config.ts';
import { StartupError } from '../startup-error.ts';
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

  // libpq, section 34.1.1.2 "Connection URIs": brackets around IPv6, and a percent-encoded folder for a Unix socket.
  it('takes an IPv6 address, the folder of a socket and names as DNS and containers have them', () => {
    for (const [given, host = given] of [
      ['::1'],
      ['[::1]', '::1'],
      ['2001:db8::5'],
      ['/var/run/postgresql'],
      ['/tmp/a folder'],
      ['127.0.0.1'],
      ['db.example.com.'],
      ['user_database-1'],
    ] as const) {
      const client = new pg.Client({
        connectionString: urlOf({ DATABASE_HOST: given, DATABASE_PORT: '6543', DATABASE_NAME: 'users' }),
      });
      assert.deepEqual([client.host, client.port, client.database], [host, 6543, 'users'], given);
    }
  });

  it('ends in one line with exit code 78 for what is no host, URL or parameter, and repeats no password', () => {
    for (const environment of [
      ...[
        'a b',
        'a,b',
        'db:5432',
        'user@db',
        'postgres://db',
        '@socket',
        'fe80::1%eth0',
        '[::1',
        'a/b',
        '?',
        '#x',
      ].map((host) => ({ DATABASE_HOST: host })),
      { DATABASE_HOST: 'db', DATABASE_PARAMETERS: 'sslmode=verify-full&sslrootcert=/nowhere.pem' },
      { DATABASE_HOST: 'db', DATABASE_PARAMETERS: 'sslnegotiation=sometimes' },
      { DATABASE_URL: 'postgres://u:secret%ff@db/b' },
      { DATABASE_URL: 'postgres://u:secret@db/b%ff' },
    ] as Record<string, string>[])
      assert.throws(
        () => urlOf(environment),
        (error) =>
          error instanceof StartupError &&
          error.exitCode === 78 &&
          /^DATABASE_(?!.*(secret|\n))/.test(error.message),
        JSON.stringify(environment),
      );
  });

  it('is refused when both are set, without a word of what they hold', () => {
    assert.throws(() => urlOf({ DATABASE_URL: 'postgres://u:secret@a/b', DATABASE_HOST: 'c' }), {
      exitCode: 78,
      message: 'DATABASE_URL and DATABASE_HOST are both set: set one of them',
    });
  });
});
