import { allEvents, heardByOrderService } from './catalogue.ts';
import type { EventDefinition } from './definition.ts';
import { eventEnvelope, eventMediaType } from './envelope.ts';
import { dataSchema, jsonSchema } from './schema.ts';

/** Version of the events as a whole; each type has its own beside it. */
const eventsVersion = '1.0.0';

type Json = { [member: string]: unknown };

/** What a service does with the events of one kind of thing. */
interface Part {
  readonly service: string;
  readonly action: 'send' | 'receive';
  readonly events: readonly EventDefinition[];
}

const parts: readonly Part[] = [
  { service: 'user-service', action: 'send', events: sentBy('/user-service') },
  { service: 'order-service', action: 'send', events: sentBy('/order-service') },
  { service: 'order-service', action: 'receive', events: heardByOrderService },
];

/** The AsyncAPI 3 document of all events: who sends and who receives which, and what is in them. */
export function asyncApiDocument(): Json {
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'zerda events',
      version: eventsVersion,
      description:
        'What the services tell one another: CloudEvents 1.0 in JSON, at least once each. A receiver passes over types and members it does not know, and applies an event only when its `sequence` is higher than the last of the same `source` and `subject`.',
      license: { name: 'MIT' },
    },
    defaultContentType: eventMediaType,
    channels: Object.fromEntries(
      [...new Set(allEvents.map(({ subjects }) => subjects))].map((subjects) => [
        subjects,
        channel(subjects),
      ]),
    ),
    operations: Object.fromEntries(parts.map((part) => [operationName(part), operation(part)])),
    components: {
      messages: Object.fromEntries(allEvents.map((event) => [event.type, message(event)])),
      schemas: {
        Event: jsonSchema(eventEnvelope),
        ...Object.fromEntries(allEvents.map((event) => [event.type, dataSchema(event)])),
      },
    },
  };
}

function sentBy(source: string): EventDefinition[] {
  return allEvents.filter((event) => event.source === source);
}

function channel(subjects: string): Json {
  return {
    description:
      `Events about ${subjects}, in order for each of them. With NATS the subject is the type of the event; ` +
      'without it each event is posted to every URL in EVENT_SINKS. Either way the header x-event-signature carries an HMAC under ' +
      'EVENT_SECRET, and an event without a valid one is rejected.',
    messages: Object.fromEntries(
      allEvents
        .filter((event) => event.subjects === subjects)
        .map(({ type }) => [type, { $ref: `#/components/messages/${type}` }]),
    ),
  };
}

function operation({ action, events }: Part): Json {
  const subjects = events[0]?.subjects;
  return {
    action,
    channel: { $ref: `#/channels/${subjects}` },
    messages: events.map(({ type }) => ({ $ref: `#/channels/${subjects}/messages/${type}` })),
  };
}

function operationName({ service, action, events }: Part): string {
  return `${service}.${action}.${events[0]?.subjects}`;
}

function message({ type, summary, description }: EventDefinition): Json {
  return {
    name: type,
    title: summary,
    ...(description !== undefined && { description }),
    contentType: eventMediaType,
    payload: {
      allOf: [
        { $ref: '#/components/schemas/Event' },
        { properties: { type: { const: type }, data: { $ref: `#/components/schemas/${type}` } } },
      ],
    },
  };
}
