import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { StartupError } from '../startup-error.ts';
import { commonVariables, databaseVariables, upstreamUrl, upstreamVariables } from './common-variables.ts';
import { describeVariables, loadConfig } from './load-config.ts';
import { flag, httpUrl, milliseconds, port } from './values.ts';

const schema = z.object({
  PORT: port().default(8000).describe('The port.'),
  WAIT_MS: milliseconds(1).default(50).describe('The wait.'),
  DEMO: flag().default(false).describe('Whether.'),
  URL: httpUrl().describe('Where.'),
});

describe('loadConfig', () => {
  it('reads numbers, flags and URLs, and fills in defaults', () => {
    const config = loadConfig(schema, { PORT: '81', DEMO: 'true', URL: 'http://users:8001', OTHER: 'x' });
    assert.deepEqual(config, { PORT: 81, WAIT_MS: 50, DEMO: true, URL: 'http://users:8001' });
    assert.ok(Object.isFrozen(config));
  });

  it('takes a variable that is set to nothing as not set', () => {
    assert.equal(loadConfig(schema, { PORT: '', URL: 'http://users' }).PORT, 8000);
  });

  it('names every variable that is wrong in one message, without its value', () => {
    const wrong = { PORT: '70000', WAIT_MS: '1s', DEMO: 'yes', URL: 'http://user:secret@host' };
    assert.throws(
      () => loadConfig(schema, wrong),
      (error) => {
        assert.ok(error instanceof StartupError);
        assert.equal(error.exitCode, 78);
        for (const name of Object.keys(wrong))
          assert.match(error.message, new RegExp(`^  ${name} must `, 'm'));
        assert.doesNotMatch(error.message, /secret/);
        return true;
      },
    );
  });

  it('says which variable is missing', () => {
    assert.throws(() => loadConfig(schema, {}), /^ {2}URL must be set$/m);
  });
});

describe('describeVariables', () => {
  it('tells name, meaning and default of each', () => {
    assert.deepEqual(describeVariables(schema), [
      { name: 'PORT', description: 'The port.', default: '8000' },
      { name: 'WAIT_MS', description: 'The wait.', default: '50' },
      { name: 'DEMO', description: 'Whether.', default: 'false' },
      { name: 'URL', description: 'Where.', default: undefined },
    ]);
  });

  it('finds a sentence at every variable that services share', () => {
    const shared = z.object({
      ...commonVariables({ port: 1, managementPort: 2 }),
      ...databaseVariables(),
      ...upstreamVariables(),
      USER_SERVICE_URL: upstreamUrl('user-service', 'http://127.0.0.1:8001'),
    });
    for (const { name, description } of describeVariables(shared)) assert.match(description, /\.$/, name);
  });
});
