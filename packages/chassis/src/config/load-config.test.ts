import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { StartupError } from '../startup-error.ts';
import { commonVariables, databaseVariables } from './common-variables.ts';
import { describeVariables, loadConfig } from './load-config.ts';
import { flag, httpUrl, milliseconds, port } from './values.ts';

const schema = z.object({
  PORT: port().default(8000).describe('The port.'),
  WAIT_MS: milliseconds(1).default(50).describe('The wait.'),
  DEMO: flag().default(false).describe('Whether.'),
  URL: httpUrl().describe('Where.'),
});

describe('loadConfig', () => {
  it('parses numbers, flags and URLs, and applies defaults', () => {
    const config = loadConfig(schema, { PORT: '81', DEMO: 'true', URL: 'http://users:8001', OTHER: 'x' });
    assert.deepEqual(config, { PORT: 81, WAIT_MS: 50, DEMO: true, URL: 'http://users:8001' });
    assert.ok(Object.isFrozen(config));
  });

  it('treats an empty variable as not set', () => {
    assert.equal(loadConfig(schema, { PORT: '', URL: 'http://users' }).PORT, 8000);
  });

  it('lists every invalid variable in one message, without the values', () => {
    const invalid = { PORT: '70000', WAIT_MS: '1s', DEMO: 'yes', URL: 'http://user:secret@host' };
    assert.throws(
      () => loadConfig(schema, invalid),
      (error) => {
        assert.ok(error instanceof StartupError);
        assert.equal(error.exitCode, 78);
        for (const name of Object.keys(invalid))
          assert.match(error.message, new RegExp(`^  ${name} must `, 'm'));
        assert.doesNotMatch(error.message, /secret/);
        return true;
      },
    );
  });

  it('reports a required variable that is missing', () => {
    assert.throws(() => loadConfig(schema, {}), /^ {2}URL must be set$/m);
  });
});

describe('describeVariables', () => {
  it('returns name, description and default of each variable', () => {
    assert.deepEqual(describeVariables(schema), [
      { name: 'PORT', description: 'The port.', default: '8000' },
      { name: 'WAIT_MS', description: 'The wait.', default: '50' },
      { name: 'DEMO', description: 'Whether.', default: 'false' },
      { name: 'URL', description: 'Where.', default: undefined },
    ]);
  });

  it('returns a description that ends with a period for every shared variable', () => {
    const shared = z.object({
      ...commonVariables({ port: 1, managementPort: 2 }),
      ...databaseVariables(),
    });
    for (const { name, description } of describeVariables(shared)) assert.match(description, /\.$/, name);
  });
});
