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
  it('returns DATABASE_URL, or undefined without configuration', () => {
    assert.equal(urlOf({ DATABASE_URL: 'postgres://a/b' }), 'postgres://a/b');
    assert.equal(urlOf({}), undefined);
  });

  it('builds the URL from its parts with any characters in the password', () => {
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
  it('accepts an IPv6 address, a socket folder, DNS names and container names', () => {
    for (const [configuredHost, host = configuredHost] of [
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
        connectionString: urlOf({
          DATABASE_HOST: configuredHost,
          DATABASE_PORT: '6543',
          DATABASE_NAME: 'users',
        }),
      });
      assert.deepEqual([client.host, client.port, client.database], [host, 6543, 'users'], configuredHost);
    }
  });

  it('throws a one-line error with exit code 78 and no password for an invalid host, URL or parameter', () => {
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

  it('throws without secrets if both variables are set', () => {
    assert.throws(() => urlOf({ DATABASE_URL: 'postgres://u:secret@a/b', DATABASE_HOST: 'c' }), {
      exitCode: 78,
      message: 'DATABASE_URL and DATABASE_HOST are both set. Set only one of them',
    });
  });
});
