import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { allEvents } from './catalogue.ts';
import { breakingChanges } from './compatibility.ts';
import { defineEvent, receivedData } from './definition.ts';
import { eventEnvelope, sequenceOf, versionOf } from './envelope.ts';
import { publishedSchema } from './schema.ts';
import { userEvents } from './users.ts';

const published = new URL('../../events/', import.meta.url);

describe('published events', () => {
  for (const event of allEvents) {
    it(`${event.type} is what was published, or more`, async () => {
      const schema = JSON.parse(await readFile(new URL(`${event.type}.json`, published), 'utf8'));
      assert.deepEqual(breakingChanges(schema, publishedSchema(event)), []);
    });

    it(`${event.type} is flat, so that being loose at the top is being loose`, () => {
      const nested = Object.entries(event.data.shape).filter(([, schema]) =>
        /^(object|array|record|union)$/.test((schema as z.ZodType).type),
      );
      assert.deepEqual(nested, []);
    });
  }

  it('are all still there', async () => {
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
  const schemaOf = (changed: z.ZodRawShape) =>
    publishedSchema(
      defineEvent({
        type: 'zerda.thing.made.v1',
        source: '/things',
        subjects: 'things',
        summary: 'A thing was made',
        data: z.strictObject(changed),
      }),
    );
  const before = schemaOf(shape);

  const changes: [title: string, shape: z.ZodRawShape, expected: string[]][] = [
    ['a new optional member', { ...shape, colour: z.string().optional() }, []],
    ['other words', { ...shape, id: z.int().describe('The id.') }, []],
    ['a member that is gone', { id: shape.id, role: shape.role }, ['note was removed']],
    ['a new member that must be there', { ...shape, colour: z.string() }, ['colour was made required']],
    ['a member that must be there now', { ...shape, note: z.string().max(10) }, ['note was made required']],
    ['a member that may be missing now', { ...shape, id: z.int().optional() }, ['id was made optional']],
    ['another type', { ...shape, id: z.string() }, ['id means something else']],
    ['a narrower enum', { ...shape, role: z.enum(['user']) }, ['role means something else']],
    ['a wider enum', { ...shape, role: z.enum(['admin', 'user', 'auditor']) }, ['role means something else']],
    ['a narrower bound', { ...shape, note: z.string().max(5).optional() }, ['note means something else']],
  ];
  for (const [title, changed, expected] of changes) {
    it(`${expected.length === 0 ? 'lets pass' : 'refuses'} ${title}`, () => {
      assert.deepEqual(breakingChanges(before, schemaOf(changed)), expected);
    });
  }
});

describe('an event', () => {
  const data = { id: 7, deleted_at: '2026-01-01T00:00:00.000Z' };

  it('is written exactly by its schema, and read without what its reader does not know', () => {
    const later = { ...data, reason: 'asked' };
    assert.equal(userEvents.userDeleted.data.safeParse(later).success, false);
    assert.deepEqual(receivedData(userEvents.userDeleted).parse(later), data);
  });

  it('may have attributes that nobody here knows', () => {
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

  it('has a sequence whose order as text is that of versions', () => {
    const versions = [1, 2, 9, 10, 99, 100, 2_147_483_647];
    const sequences = versions.map(sequenceOf);
    assert.deepEqual(sequences.toSorted(), sequences);
    assert.deepEqual(
      sequences.map((sequence) => versionOf({ sequence })),
      versions,
    );
  });
});
