import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { asyncApiDocument } from './async-api.ts';
import { allEvents } from './catalogue.ts';

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

  it('has each event sent by one service, and received only where it is sent', () => {
    const operations = Object.values(document.operations as object) as {
      action: string;
      messages: Reference[];
    }[];
    const of = (action: string) =>
      operations
        .filter((operation) => operation.action === action)
        .flatMap(({ messages }) => messages.map(({ $ref }) => $ref.split('/').at(-1)));
    assert.deepEqual(of('send').sort(), allEvents.map(({ type }) => type as string).sort());
    for (const type of of('receive')) assert.ok(of('send').includes(type), type);
  });
});
