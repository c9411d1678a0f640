import { z } from 'zod';

/** Media type of one event in structured mode (CloudEvents 1.0.2, HTTP binding, section 3.2). */
export const eventMediaType = 'application/cloudevents+json';

/** Prefix of every event type and of every NATS subject. */
export const eventPrefix = 'zerda';

/** `traceparent` of W3C Trace Context, version 00. */
export const traceparent = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/**
 * Required attributes of any CloudEvent. Events with an unknown type only have to match this schema, so that receivers ignore
 * events of other systems instead of rejecting them.
 */
export const anyEvent = z.looseObject({
  specversion: z.literal('1.0'),
  id: z.string().min(1).max(255),
  source: z.string().min(1),
  type: z.string().min(1),
});

/** Attributes of the events of this system; unknown attributes are kept. */
export const eventEnvelope = z.looseObject({
  specversion: z.literal('1.0').describe('Version of CloudEvents.'),
  id: z.uuid().describe('Id of the event; identical in every delivery of the event.'),
  source: z.string().min(1).describe('Service that sends the event.'),
  type: z.string().min(1).describe('Event type, ending with the version of its schema.'),
  subject: z
    .string()
    .min(1)
    .describe('Resource that the event is about: collection and id, such as `users/7`.'),
  time: z.iso.datetime().describe('Time at which the event was written to the outbox.'),
  datacontenttype: z.literal('application/json'),
  sequence: z
    .string()
    .regex(/^\d{10}$/)
    .describe(
      'Version of the subject after the event, zero-padded to ten digits so that text order equals numeric order. Receivers apply only a higher sequence than the last one.',
    ),
  correlationid: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe('Correlation id of the request that caused the event.'),
  traceparent: z
    .string()
    .regex(traceparent)
    .optional()
    .describe('Trace of the request that caused the event (W3C Trace Context).'),
  data: z.unknown(),
});

/** An event as it is sent: a CloudEvent in JSON. */
export type EventEnvelope = z.infer<typeof eventEnvelope>;

/** An event with validated data. */
export type EventOf<Data> = Omit<EventEnvelope, 'data'> & { readonly data: Data };

/** Returns the `sequence` of a row version. */
export function sequenceOf(version: number): string {
  return String(version).padStart(10, '0');
}

/** Returns the row version of a `sequence`. */
export function versionOf({ sequence }: Pick<EventEnvelope, 'sequence'>): number {
  return Number(sequence);
}
