import assert from 'node:assert/strict';
import { afterEach, it } from 'node:test';
import { z } from 'zod';
import { authVariables } from '../config/auth-variables.ts';
import { commonVariables } from '../config/common-variables.ts';
import { StartupError } from '../startup-error.ts';
import { openProcess } from './open-process.ts';

const environment = { ...process.env };
afterEach(() => {
  process.env = { ...environment };
});

const openTestProcess = (env: Record<string, string>) => {
  process.env = { ...environment, LOG_LEVEL: 'silent', ...env };
  return openProcess({
    service: 'test-service',
    version: '0.0.0',
    variables: z.object({ ...commonVariables({ port: 0, managementPort: 0 }), ...authVariables() }),
  });
};

it('throws a one-line error with exit code 78 for AUTH=off in production, which names the override', () => {
  for (const env of [{}, { ALLOW_UNAUTHENTICATED: 'false' }, { ALLOW_UNAUTHENTICATED: '' }])
    assert.throws(
      () => openTestProcess({ NODE_ENV: 'production', AUTH: 'off', ...env } as Record<string, string>),
      (error) => {
        assert.ok(error instanceof StartupError);
        assert.equal(error.exitCode, 78);
        assert.match(error.message, /^AUTH=off .*AUTH=required.*ALLOW_UNAUTHENTICATED=true.*$/);
        return true;
      },
    );
});

it('accepts AUTH=off outside of production or with the override', () => {
  for (const env of [
    { NODE_ENV: 'production', AUTH: 'required' },
    { NODE_ENV: 'production' },
    { NODE_ENV: 'production', AUTH: 'off', ALLOW_UNAUTHENTICATED: 'true' },
    { AUTH: 'off' },
    { NODE_ENV: 'development', AUTH: 'off' },
  ] as Record<string, string>[])
    assert.equal(openTestProcess(env).config.AUTH, env.AUTH ?? 'required');
});
