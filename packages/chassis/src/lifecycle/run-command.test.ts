import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { commonVariables } from '../config/common-variables.ts';
import { runCommand } from './run-command.ts';

const variables = z.object(commonVariables({ port: 0, managementPort: 0 }));

/** Runs a service with these arguments. Returns its calls, in order. */
async function callsOf(...args: string[]): Promise<unknown[]> {
  const calls: unknown[] = [];
  await runCommand({
    service: 'test-service',
    version: '0.0.0',
    variables,
    args,
    serve: async () => void calls.push('serve'),
    migrate: async () => calls.push('migrate'),
    commands: {
      async keys({ lifecycle, logger }, keysArgs) {
        calls.push(['keys', ...keysArgs, logger.level]);
        lifecycle.onShutdown('database', () => void calls.push('closed'));
      },
    },
  });
  return calls;
}

describe('runCommand', () => {
  it('serves by default', async () => {
    assert.deepEqual(await callsOf(), ['serve']);
    assert.deepEqual(await callsOf('serve'), ['serve']);
    assert.deepEqual(await callsOf('migrate'), ['migrate']);
  });

  it('passes arguments to a command, logs only errors, and closes its resources', async () => {
    assert.deepEqual(await callsOf('keys', 'rotate', '--now'), [
      ['keys', 'rotate', '--now', 'error'],
      'closed',
    ]);
  });

  it('rejects unknown commands with the available ones', async () => {
    for (const args of [['Migrate'], ['migrate', 'now'], ['serve', 'now'], [''], ['toString'], ['events']])
      await assert.rejects(callsOf(...args), {
        name: 'StartupError',
        exitCode: 78,
        message: `Unknown command "${args.join(' ')}". Use one of: serve, migrate, keys`,
      });
  });
});
