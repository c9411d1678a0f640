import { z } from 'zod';
import { type EventDefinition, receivedData } from './definition.ts';

/** A JSON Schema of flat data. */
export interface DataSchema {
  readonly properties: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly required: readonly string[];
  readonly [keyword: string]: unknown;
}

/** A schema in JSON Schema 2020-12, as what receivers may count on: without patterns where a format says it. */
export function jsonSchema(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _dialect, ...members } = z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      // The pattern is how this release of zod reads the format; the next one may do it in another way.
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
    },
  });
  return members;
}

/** The schema of an event's data, with room for members that come later. */
export function dataSchema(definition: EventDefinition): DataSchema {
  return jsonSchema(receivedData(definition)) as unknown as DataSchema;
}

/** The same as a file of its own. */
export function publishedSchema(definition: EventDefinition): DataSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `${definition.type}.json`,
    title: definition.summary,
    ...dataSchema(definition),
  };
}
