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

const open = (env: Record<string, string>) => {
  process.env = { ...environment, LOG_LEVEL: 'silent', ...env };
  return openProcess({
    ...{ service: 'test-service', version: '0.0.0' },
    variables: z.object({ ...commonVariables({ port: 0, managementPort: 0 }), ...authVariables() }),
  });
};

it('refuses AUTH=off in production with exit code 78 and one line, which names what allows it', () => {
  for (const env of [{}, { ALLOW_UNAUTHENTICATED: 'false' }, { ALLOW_UNAUTHENTICATED: '' }])
    assert.throws(
      () => open({ NODE_ENV: 'production', AUTH: 'off', ...env } as Record<string, string>),
      (error) => {
        assert.ok(error instanceof StartupError);
        assert.equal(error.exitCode, 78);
        assert.match(error.message, /^AUTH=off .*AUTH=required.*ALLOW_UNAUTHENTICATED=true.*$/);
        return true;
      },
    );
});

it('opens with authentication in production, and without it where that is meant or it is no production', () => {
  for (const env of [
    { NODE_ENV: 'production', AUTH: 'required' },
    { NODE_ENV: 'production' },
    { NODE_ENV: 'production', AUTH: 'off', ALLOW_UNAUTHENTICATED: 'true' },
    { AUTH: 'off' },
    { NODE_ENV: 'development', AUTH: 'off' },
  ] as Record<string, string>[])
    assert.equal(open(env).config.AUTH, env.AUTH ?? 'required');
});
