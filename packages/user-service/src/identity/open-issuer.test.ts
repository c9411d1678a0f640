import assert from 'node:assert/strict';
import { it } from 'node:test';
import { loadConfig } from '@zerda/chassis/config/load-config';
import { StartupError } from '@zerda/chassis/startup-error';
import { variables } from '../config.ts';
import { requireIssuer } from './open-issuer.ts';

const AUTH_KEY_SECRET = 'the secret of a test, which is long enough';
const configOf = (env: Record<string, string>) => loadConfig(variables, env);

for (const [what, env, message] of [
  ['a missing issuer', {}, /^AUTH=required needs an issuer of access tokens\. Set AUTH_KEY_SECRET/],
  [
    'a first admin without a password',
    { AUTH_KEY_SECRET, AUTH_ADMIN_EMAIL: 'a@example.com' },
    /^Set AUTH_ADMIN_EMAIL and AUTH_ADMIN_PASSWORD together/,
  ],
  [
    'a common password of the first admin',
    { AUTH_KEY_SECRET, AUTH_ADMIN_EMAIL: 'a@example.com', AUTH_ADMIN_PASSWORD: 'password123' },
    /^AUTH_ADMIN_PASSWORD is .*\. Set a password that is hard to guess\.$/,
  ],
  [
    'the e-mail address of the first admin as the password',
    { AUTH_KEY_SECRET, AUTH_ADMIN_EMAIL: 'root@example.com', AUTH_ADMIN_PASSWORD: 'root@example.com' },
    /is the name or e-mail address of the user/,
  ],
] as const) {
  it(`exits with 78 for ${what}`, () => {
    assert.throws(
      () => requireIssuer(configOf(env)),
      (error) => error instanceof StartupError && error.exitCode === 78 && message.test(error.message),
    );
  });
}

it('accepts a first admin with a password that is hard to guess', () => {
  const env = {
    AUTH_KEY_SECRET,
    AUTH_ADMIN_EMAIL: 'a@example.com',
    AUTH_ADMIN_PASSWORD: 'four words no list has',
  };
  requireIssuer(configOf(env));
});
