import type { EventFlow } from '../service-contract.ts';
import { contracts } from '../services.ts';
import { allEvents } from './catalog.ts';
import type { EventDefinition } from './definition.ts';
import { eventEnvelope, eventMediaType } from './envelope.ts';
import { dataSchema, jsonSchema } from './schema.ts';

/** Version of the whole document; each event type also has its own version. */
const eventsVersion = '1.0.0';

type Json = { [member: string]: unknown };

/** Events of one channel that a service sends or receives. */
interface Flow {
  readonly service: string;
  readonly action: 'send' | 'receive';
  readonly events: readonly EventDefinition[];
  readonly description: string;
}

const flows: readonly Flow[] = contracts.flatMap(({ name, sends, receives }) => [
  ...(sends === undefined ? [] : [createFlow(name, 'send', sends)]),
  ...(receives === undefined ? [] : [createFlow(name, 'receive', receives)]),
]);

function createFlow(service: string, action: Flow['action'], { events, description }: EventFlow): Flow {
  return { service, action, events: Object.values(events), description };
}

/** Descriptions of the channels by the kind of their subjects. */
const channelDescriptions: Readonly<Record<string, string>> = Object.fromEntries(
  contracts.flatMap(({ sends }) =>
    sends === undefined ? [] : [[Object.values(sends.events)[0]?.subjects ?? '', sends.channel]],
  ),
);

/** Returns the AsyncAPI 3 document of all events: senders, receivers and schemas. */
export function asyncApiDocument(): Json {
  return {
    asyncapi: '3.1.0',
    info: {
      title: 'zerda events',
      version: eventsVersion,
      description:
        'Events between the services: CloudEvents 1.0 in JSON with at-least-once delivery. Receivers ignore unknown types and members. They apply an event only if its `sequence` is higher than that of the last event with the same `source` and `subject`.',
      contact: { name: 'zerda maintainers' },
      license: { name: 'MIT', url: 'https://opensource.org/license/mit' },
      tags: channelNames().map((name) => ({ name, description: channelDescriptions[name] })),
    },
    defaultContentType: eventMediaType,
    servers: {
      nats: {
        host: '{host}',
        protocol: 'nats',
        description: 'NATS server with JetStream, if NATS_URL is set. The subject is the type of the event.',
        variables: { host: { default: 'nats:4222', description: 'Host and port of NATS_URL.' } },
        security: [eventSignature],
      },
      http: {
        host: '{host}',
        protocol: 'http',
        description:
          'HTTP receiver, if NATS_URL is not set. Each event is posted to every URL in EVENT_SINKS.',
        pathname: '/events',
        variables: {
          host: { default: 'order-service:9090', description: 'Host and port of a URL in EVENT_SINKS.' },
        },
        security: [eventSignature],
      },
    },
    channels: Object.fromEntries(channelNames().map((name) => [name, channel(name)])),
    operations: Object.fromEntries(flows.map((flow) => [operationName(flow), operation(flow)])),
    components: {
      messages: Object.fromEntries(allEvents.map((event) => [event.type, message(event)])),
      schemas: {
        Event: {
          description: 'Attributes of every event: CloudEvents 1.0.2 and the extensions of the services.',
          ...jsonSchema(eventEnvelope),
        },
        ...Object.fromEntries(allEvents.map((event) => [event.type, dataSchema(event)])),
      },
      securitySchemes: {
        eventSignature: {
          type: 'httpApiKey',
          name: 'x-event-signature',
          in: 'header',
          description:
            'HMAC of the event under EVENT_SECRET. Receivers reject events without a valid signature.',
        },
      },
    },
  };
}

const eventSignature = { $ref: '#/components/securitySchemes/eventSignature' };

function channelNames(): string[] {
  return [...new Set(allEvents.map(({ subjects }) => subjects))];
}

function channel(name: string): Json {
  return {
    description: `${channelDescriptions[name]} Events of one subject are delivered in order.`,
    messages: Object.fromEntries(
      allEvents
        .filter((event) => event.subjects === name)
        .map(({ type }) => [type, { $ref: `#/components/messages/${type}` }]),
    ),
  };
}

function operation({ action, events, description }: Flow): Json {
  const name = events[0]?.subjects;
  return {
    action,
    description,
    channel: { $ref: `#/channels/${name}` },
    security: [eventSignature],
    messages: events.map(({ type }) => ({ $ref: `#/channels/${name}/messages/${type}` })),
  };
}

function operationName({ service, action, events }: Flow): string {
  return `${service}.${action}.${events[0]?.subjects}`;
}

function message({ type, summary, description }: EventDefinition): Json {
  return {
    name: type,
    title: summary,
    description,
    contentType: eventMediaType,
    payload: {
      allOf: [
        { $ref: '#/components/schemas/Event' },
        { properties: { type: { const: type }, data: { $ref: `#/components/schemas/${type}` } } },
      ],
    },
  };
}
