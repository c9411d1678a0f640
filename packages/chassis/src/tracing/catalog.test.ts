import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as stable from '@opentelemetry/semantic-conventions';
import * as incubating from '@opentelemetry/semantic-conventions/incubating';
import { attributes, type SpanDefinition, spanEvents, spans } from './catalog.ts';

/** Names of attributes in the semantic conventions. */
const conventions = new Set(
  Object.entries({ ...incubating, ...stable }).flatMap(([constant, value]) =>
    constant.startsWith('ATTR_') ? [String(value)] : [],
  ),
);

const definitions: readonly SpanDefinition[] = Object.values(spans);

describe('catalog of spans', () => {
  it('uses attributes of the semantic conventions, or its own prefix', () => {
    const unknown = Object.keys(attributes).filter(
      (name) => !name.startsWith('zerda.') && !conventions.has(name),
    );
    assert.deepEqual(unknown, []);
    const shadowed = Object.keys(attributes).filter(
      (name) => conventions.has(name.replace(/^zerda\./, '')) && name.startsWith('zerda.'),
    );
    assert.deepEqual(shadowed, []);
  });

  it('uses every attribute and event, and describes each', () => {
    const used = new Set<string>(
      [...definitions, ...Object.values(spanEvents)].flatMap((entry) => [...entry.attributes]),
    );
    assert.deepEqual(
      Object.keys(attributes).filter((name) => !used.has(name)),
      [],
    );
    const events = new Set<string>(definitions.flatMap((span) => [...span.events]));
    assert.deepEqual(
      Object.keys(spanEvents).filter((name) => !events.has(name)),
      [],
    );
    for (const { description } of [...definitions, ...Object.values(spanEvents)])
      assert.match(description, /^[A-Z].*\.$/);
  });

  it('has only known attributes in the names of spans', () => {
    for (const { name, attributes: known } of definitions)
      for (const [, placeholder] of name.matchAll(/\{(.+?)\}/g))
        assert.ok((known as readonly string[]).includes(placeholder ?? ''), `${name}: ${placeholder}`);
  });

  it('has unique attributes in each span', () => {
    for (const { name, attributes: known } of definitions)
      assert.equal(new Set(known).size, known.length, name);
  });
});
