import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { asyncApiDocument } from './async-api.ts';
import { allEvents } from './catalog.ts';

type Reference = { $ref: string };

describe('the AsyncAPI document', () => {
  const document = asyncApiDocument();

  function resolve(reference: string): unknown {
    return reference
      .slice(2)
      .split('/')
      .reduce<unknown>((node, name) => (node as Record<string, unknown> | undefined)?.[name], document);
  }

  it('resolves every reference', () => {
    const names = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? '');
    assert.ok(names.length > allEvents.length);
    for (const name of names) assert.notEqual(resolve(name), undefined, name);
  });

  it('describes every channel, operation, message and schema', () => {
    const { channels, operations, components } = document as Record<string, Record<string, object>>;
    const described = [channels, operations, components?.messages, components?.schemas].flatMap((nodes) =>
      Object.entries(nodes as Record<string, { description?: string }>),
    );
    assert.ok(described.length > allEvents.length);
    for (const [name, { description }] of described) assert.ok(description, name);
  });

  it('has exactly one sender for each event, and receivers only of sent events', () => {
    const operations = Object.values(document.operations as object) as {
      action: string;
      messages: Reference[];
    }[];
    const typesOf = (action: string) =>
      operations
        .filter((operation) => operation.action === action)
        .flatMap(({ messages }) => messages.map(({ $ref }) => $ref.split('/').at(-1)));
    assert.deepEqual(typesOf('send').sort(), allEvents.map(({ type }) => type as string).sort());
    for (const type of typesOf('receive')) assert.ok(typesOf('send').includes(type), type);
  });
});
