import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readValues, schemaOf } from './chart-values.ts';

const values = `# What these values are.

# -- Pods of it.
# @schema {"minimum": 0}
replicas: 2

image:
  # -- Where it is pulled from,
  # and by what name.
  repository: ""
  # -- Whether it is.
  pull: true

# -- Variables.
# @schema {"additionalProperties": {"type": "string"}}
env: {A: b}

# -- Hosts.
hosts: [a]
`;

describe("chart's values", () => {
  it('are read with descriptions and defaults', () => {
    assert.deepEqual(readValues(values), [
      { path: 'replicas', description: 'Pods of it.', default: '2' },
      { path: 'image.repository', description: 'Where it is pulled from, and by what name.', default: '""' },
      { path: 'image.pull', description: 'Whether it is.', default: 'true' },
      { path: 'env', description: 'Variables.', default: '{"A":"b"}' },
      { path: 'hosts', description: 'Hosts.', default: '["a"]' },
    ]);
  });

  it('produce a strict schema unless a comment overrides it', () => {
    assert.deepEqual(schemaOf(values), {
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'object',
      additionalProperties: false,
      properties: {
        enabled: { type: 'boolean' },
        global: { type: 'object' },
        replicas: { description: 'Pods of it.', type: 'integer', minimum: 0 },
        image: {
          type: 'object',
          additionalProperties: false,
          properties: {
            repository: { description: 'Where it is pulled from, and by what name.', type: 'string' },
            pull: { description: 'Whether it is.', type: 'boolean' },
          },
        },
        env: { description: 'Variables.', type: 'object', additionalProperties: { type: 'string' } },
        hosts: { description: 'Hosts.', type: 'array' },
      },
    });
  });

  it('are rejected without a description or with an invalid schema', () => {
    assert.throws(
      () => readValues('image:\n  tag: ""\n'),
      /image\.tag has no comment that begins with "# --"/,
    );
    assert.throws(
      () => schemaOf('# -- x\n# @schema {oops}\na: 1\n'),
      /The "# @schema" comment of a is not valid JSON/,
    );
  });
});
