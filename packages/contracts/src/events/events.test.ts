import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { userEvents } from '../user-service/events.ts';
import { allEvents } from './catalog.ts';
import { breakingChanges } from './compatibility.ts';
import { defineEvent, receivedData } from './definition.ts';
import { eventEnvelope, sequenceOf, versionOf } from './envelope.ts';
import { publishedSchema } from './schema.ts';

const published = new URL('../../events/', import.meta.url);

describe('published events', () => {
  for (const event of allEvents) {
    it(`${event.type} is compatible with the published schema`, async () => {
      const schema = JSON.parse(await readFile(new URL(`${event.type}.json`, published), 'utf8'));
      assert.deepEqual(breakingChanges(schema, publishedSchema(event)), []);
    });

    it(`${event.type} is flat, because receivers remove unknown members only at the top level`, () => {
      const nested = Object.entries(event.data.shape).filter(([, schema]) =>
        /^(object|array|record|union)$/.test((schema as z.ZodType).type),
      );
      assert.deepEqual(nested, []);
    });
  }

  it('exist for every event type, and for no other', async () => {
    const files = await readdir(published);
    assert.deepEqual(files.sort(), allEvents.map(({ type }) => `${type}.json`).sort());
  });
});

describe('breakingChanges', () => {
  const shape = {
    id: z.int(),
    role: z.enum(['admin', 'user']),
    note: z.string().max(10).optional(),
  };
  const schemaOf = (dataShape: z.ZodRawShape) =>
    publishedSchema(
      defineEvent({
        type: 'zerda.thing.made.v1',
        source: '/things',
        subjects: 'things',
        summary: 'A thing was made',
        data: z.strictObject(dataShape),
      }),
    );
  const before = schemaOf(shape);

  const changes: [title: string, shape: z.ZodRawShape, expected: string[]][] = [
    ['a new optional member', { ...shape, color: z.string().optional() }, []],
    ['a new description', { ...shape, id: z.int().describe('The id.') }, []],
    ['a removed member', { id: shape.id, role: shape.role }, ['note was removed']],
    ['a new required member', { ...shape, color: z.string() }, ['color was made required']],
    ['an optional member made required', { ...shape, note: z.string().max(10) }, ['note was made required']],
    ['a required member made optional', { ...shape, id: z.int().optional() }, ['id was made optional']],
    ['a different type', { ...shape, id: z.string() }, ['id was changed']],
    ['a narrower enum', { ...shape, role: z.enum(['user']) }, ['role was changed']],
    ['a wider enum', { ...shape, role: z.enum(['admin', 'user', 'auditor']) }, ['role was changed']],
    ['a narrower bound', { ...shape, note: z.string().max(5).optional() }, ['note was changed']],
  ];
  for (const [title, newShape, expected] of changes) {
    it(`${expected.length === 0 ? 'allows' : 'reports'} ${title}`, () => {
      assert.deepEqual(breakingChanges(before, schemaOf(newShape)), expected);
    });
  }
});

describe('an event', () => {
  const data = { id: 7, deleted_at: '2026-01-01T00:00:00.000Z' };

  it('rejects unknown members when it is sent and removes them when it is received', () => {
    const extended = { ...data, reason: 'requested' };
    assert.equal(userEvents.userDeleted.data.safeParse(extended).success, false);
    assert.deepEqual(receivedData(userEvents.userDeleted).parse(extended), data);
  });

  it('can have unknown attributes but no invalid ones', () => {
    const event = {
      specversion: '1.0',
      id: '5c9ca3a5-6a1c-4b52-a7c1-1c5ad23f0a5e',
      source: '/user-service',
      type: 'zerda.user.deleted.v1',
      subject: 'users/7',
      time: '2026-01-01T00:00:00Z',
      datacontenttype: 'application/json',
      sequence: '0000000003',
      data,
    };
    assert.deepEqual(eventEnvelope.parse({ ...event, tenant: 'a' }), { ...event, tenant: 'a' });
    for (const wrong of [
      { specversion: '0.3' },
      { sequence: '3' },
      { subject: undefined },
      { traceparent: '00-0-0-0' },
    ]) {
      assert.equal(eventEnvelope.safeParse({ ...event, ...wrong }).success, false, JSON.stringify(wrong));
    }
  });

  it('has sequences whose text order equals the order of versions', () => {
    const versions = [1, 2, 9, 10, 99, 100, 2_147_483_647];
    const sequences = versions.map(sequenceOf);
    assert.deepEqual(sequences.toSorted(), sequences);
    assert.deepEqual(
      sequences.map((sequence) => versionOf({ sequence })),
      versions,
    );
  });
});
