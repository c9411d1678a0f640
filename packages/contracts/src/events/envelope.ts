import { z } from 'zod';

/** Media type of one event in structured mode (CloudEvents 1.0.2, HTTP binding, section 3.2). */
export const eventMediaType = 'application/cloudevents+json';

/** What every type begins with; in NATS also every subject. */
export const eventPrefix = 'zerda';

/** `traceparent` of W3C Trace Context, version 00. */
export const traceparent = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/**
 * What CloudEvents asks of every event. A type that nobody here hears may have no more than this, so that events of others
 * are passed over and not refused.
 */
export const anyEvent = z.looseObject({
  specversion: z.literal('1.0'),
  id: z.string().min(1).max(255),
  source: z.string().min(1),
  type: z.string().min(1),
});

/** The attributes of our events; those that are not known are let be. */
export const eventEnvelope = z.looseObject({
  specversion: z.literal('1.0').describe('Version of CloudEvents.'),
  id: z.uuid().describe('Id of the event. A repeat has the same one.'),
  source: z.string().min(1).describe('The service that sends it.'),
  type: z.string().min(1).describe('What has happened, with the version of its schema at the end.'),
  subject: z.string().min(1).describe('What it has happened to: a kind and an id, such as `users/7`.'),
  time: z.iso.datetime().describe('When it was written down.'),
  datacontenttype: z.literal('application/json'),
  sequence: z
    .string()
    .regex(/^\d{10}$/)
    .describe(
      'Version of the subject that the event made, in ten digits so that the order of text is that of numbers. Only a higher one than the last is news.',
    ),
  correlationid: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe('Id under which the logs have the request that it came from.'),
  traceparent: z
    .string()
    .regex(traceparent)
    .optional()
    .describe('Trace of the request that it came from (W3C Trace Context).'),
  data: z.unknown(),
});

/** An event as it travels: a CloudEvent in JSON, with our attributes. */
export type EventEnvelope = z.infer<typeof eventEnvelope>;

/** An event whose data was read by its schema. */
export type EventOf<Data> = Omit<EventEnvelope, 'data'> & { readonly data: Data };

/** `sequence` of a row version. */
export function sequenceOf(version: number): string {
  return String(version).padStart(10, '0');
}

/** Row version of a `sequence`. */
export function versionOf({ sequence }: Pick<EventEnvelope, 'sequence'>): number {
  return Number(sequence);
}
