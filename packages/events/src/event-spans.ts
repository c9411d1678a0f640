import type { Span, Tracer } from '@zerda/chassis/tracing/span';
import { validTraceparent } from '@zerda/chassis/tracing/traceparent';
import type { EventEnvelope } from '@zerda/contracts/events/envelope';
import type { EventTransportName } from './event-metrics.ts';
import type { ClaimedEvent } from './outbox-queue.ts';
import type { DeliveryInfo } from './transport.ts';

/** Attributes of an event that tracing reads before the event is validated. */
type TracedEvent = Partial<Record<'id' | 'type' | 'traceparent' | 'correlationid', unknown>>;

/**
 * The attribute in the text of an event, which has it before the data. Parsing each event would cost more than everything else that is
 * done for an event of an unsampled trace.
 */
const traceparentAttribute = /"traceparent":"([^"]*)"/;

/**
 * Starts the span of sending an event. It starts a trace, because an event may be sent long after its request, and links to the span that
 * wrote the event. Returns undefined if that trace is not sampled.
 */
export function startSendSpan(
  tracer: Tracer,
  event: ClaimedEvent,
  system: EventTransportName,
): Span | undefined {
  const creation = validTraceparent(traceparentAttribute.exec(event.text)?.[1]);
  const span = tracer.start('send', {
    name: `send ${event.type}`,
    sampleBy: creation,
    links: creation === undefined ? [] : [creation],
    attributes: {
      'messaging.system': system,
      'messaging.operation.name': 'send',
      'messaging.operation.type': 'send',
      'messaging.destination.name': event.type,
      'messaging.message.id': event.id,
      'zerda.event.delivery': event.attempts,
    },
  });
  span?.set({ 'zerda.correlation_id': (JSON.parse(event.text) as EventEnvelope).correlationid });
  return span;
}

/** Starts the span of processing one delivery, as a child of the span that sent it and with a link to the one that wrote it. */
export function startProcessSpan(
  tracer: Tracer,
  event: TracedEvent,
  { system, count, traceparent }: Partial<DeliveryInfo>,
  service: string | undefined,
): Span | undefined {
  const creation = validTraceparent(event.traceparent as string | undefined);
  const sender = validTraceparent(traceparent);
  const type = String(event.type);
  return tracer.start('process', {
    name: `process ${type}`,
    parent: sender,
    sampleBy: sender ?? creation,
    links: creation === undefined ? [] : [creation],
    attributes: {
      'messaging.system': system,
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': type,
      'messaging.message.id': String(event.id),
      'messaging.consumer.group.name': service,
      'zerda.event.delivery': count,
      'zerda.correlation_id':
        typeof event.correlationid === 'string' ? event.correlationid.slice(0, 64) : undefined,
    },
  });
}
