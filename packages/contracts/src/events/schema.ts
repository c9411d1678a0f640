import { z } from 'zod';
import { type EventDefinition, receivedData } from './definition.ts';

/** JSON Schema of the flat data of an event. */
export interface DataSchema {
  readonly properties: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly required: readonly string[];
  readonly [keyword: string]: unknown;
}

/** Returns a zod schema as JSON Schema 2020-12, without the pattern of members that have a format. */
export function jsonSchema(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _dialect, ...members } = z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      // The pattern of a format depends on the release of zod.
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
    },
  });
  return members;
}

/** Returns the schema of an event's data; it allows additional members. */
export function dataSchema(definition: EventDefinition): DataSchema {
  const { description } = definition;
  const schema = jsonSchema(receivedData(definition)) as unknown as DataSchema;
  return description === undefined ? schema : { description, ...schema };
}

/** Returns the schema of an event's data as a standalone document. */
export function publishedSchema(definition: EventDefinition): DataSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `${definition.type}.json`,
    title: definition.summary,
    ...dataSchema(definition),
  };
}
