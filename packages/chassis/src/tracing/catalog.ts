/** Kind of a span, as in OpenTelemetry. */
export type SpanKindName = 'server' | 'client' | 'internal' | 'producer' | 'consumer';

/** Value of an attribute. */
export type AttributeValue = string | number | boolean;

/** Attributes of spans and of their events. Names without `zerda.` are those of the OpenTelemetry semantic conventions. */
export const attributes = {
  'client.address': 'Client address as in the request log (LOG_CLIENT_ADDRESS).',
  'db.operation.name': 'First SQL command of the statement.',
  'db.query.summary': 'Commands and tables of the statement, without values.',
  'db.response.status_code': 'SQLSTATE of a failed statement.',
  'db.system.name': 'Always `postgresql`, also for the embedded database.',
  'error.type':
    'Status code, problem code or error code of a failed operation; `_OTHER` if it has none. Never an error message.',
  'http.request.method': 'Method of the request; `_OTHER` for an unknown one.',
  'http.request.resend_count': 'Number of the retry; absent on the first attempt.',
  'http.response.status_code':
    'Status of the response. 499 on a server span means that the client disconnected.',
  'http.route': 'Path pattern of the matched route; absent if no route matches.',
  'messaging.batch.message_count': 'Number of events that are written together.',
  'messaging.consumer.group.name': 'Service that processes the event.',
  'messaging.destination.name': 'Event type, which is also the NATS subject.',
  'messaging.message.id': 'Id of the event.',
  'messaging.operation.name': '`append`, `send` or `process`.',
  'messaging.operation.type': '`create`, `send` or `process`.',
  'messaging.system': 'Transport of the event: `nats` or `http`; `outbox` for the append.',
  'network.peer.address': 'Address of the upstream that the balancer selected.',
  'network.protocol.version': 'HTTP version of the request.',
  'server.address': 'Host of the upstream URL.',
  'server.port': 'Port of the upstream URL.',
  'url.path': 'Path of the request without its query; absent if no route matches.',
  'url.scheme': 'Scheme that the client used, `http` or `https`.',
  'url.template': 'Path pattern of the route, aggregate part or call.',
  'zerda.cache.outcome':
    'Outcome of the lookup on a cached route, as in the metric: hit, miss, coalesced, stale, bypass. A coalesced request waits for the fetch of another one.',
  'zerda.circuit.state': 'State of the circuit at the start of the attempt: closed, half-open or open.',
  'zerda.correlation_id': 'Correlation id of the request, as in all its log lines.',
  'zerda.event.delivery': 'Number of the delivery, 1 for the first one.',
  'zerda.event.outcome': 'Result of processing the event, as in the metric `event_handler_duration_seconds`.',
  'zerda.part.name': 'Name of the part in the route table.',
  'zerda.part.reason': 'Why the part is missing or stale; absent if it is complete.',
  'zerda.part.required': 'Whether the aggregate fails without the part.',
  'zerda.password.kind': 'Kind of password work, which selects the lane of the queue.',
  'zerda.transaction.attempt': 'Number of the failed attempt.',
  'zerda.upstream': 'Name of the upstream.',
} as const satisfies Readonly<Record<string, string>>;

export type AttributeName = keyof typeof attributes;

/** Attribute values of a span or event. */
export type Attributes = Readonly<Partial<Record<AttributeName, AttributeValue | undefined>>>;

/** Events of spans, with their attributes. */
export const spanEvents = {
  'circuit open': {
    description: 'A call was not made because the circuit of the upstream is open.',
    attributes: ['zerda.upstream'],
  },
  'bulkhead full': {
    description: 'A call was not made because the upstream has the maximum number of calls in flight.',
    attributes: ['zerda.upstream'],
  },
  'transaction retry': {
    description: 'A deadlock or a serialization failure rolled the transaction back. It runs again.',
    attributes: ['zerda.transaction.attempt', 'error.type'],
  },
  'hash started': { description: 'The turn of the request came; hashing starts.', attributes: [] },
  'dead-lettered': { description: 'The event moved to the dead letters.', attributes: [] },
} as const satisfies Readonly<
  Record<string, { readonly description: string; readonly attributes: readonly AttributeName[] }>
>;

export type SpanEventName = keyof typeof spanEvents;

/** One kind of span. */
export interface SpanDefinition {
  /** Name with attributes as placeholders. A name has few values: patterns instead of paths, no ids. */
  readonly name: string;
  readonly kind: SpanKindName;
  /** What the span measures. */
  readonly description: string;
  readonly attributes: readonly AttributeName[];
  readonly events: readonly SpanEventName[];
  /** What the links of the span point to; undefined if it has none. */
  readonly links?: string;
}

/** Every span. The key, with the prefix `zerda.`, is the instrumentation scope. */
export const spans = {
  request: {
    name: '{http.request.method} {http.route}',
    kind: 'server',
    description: 'A request to the API of a service, from its head to the end of the response.',
    attributes: [
      'http.request.method',
      'http.route',
      'http.response.status_code',
      'url.path',
      'url.scheme',
      'network.protocol.version',
      'client.address',
      'error.type',
      'zerda.cache.outcome',
      'zerda.correlation_id',
    ],
    events: ['circuit open', 'bulkhead full'],
    links: 'the trace of an untrusted caller, and the call of another request whose response this one shares',
  },
  attempt: {
    name: '{http.request.method} {url.template}',
    kind: 'client',
    description:
      'One attempt of a call to an upstream. It ends with the head of a forwarded response, otherwise with its body.',
    attributes: [
      'http.request.method',
      'http.request.resend_count',
      'http.response.status_code',
      'url.template',
      'server.address',
      'server.port',
      'network.peer.address',
      'error.type',
      'zerda.upstream',
      'zerda.circuit.state',
    ],
    events: [],
  },
  part: {
    name: 'part {zerda.part.name}',
    kind: 'internal',
    description: 'Fetching one part of an aggregate.',
    attributes: ['zerda.part.name', 'zerda.part.required', 'zerda.part.reason', 'error.type'],
    events: ['circuit open', 'bulkhead full'],
  },
  keys: {
    name: 'wait for keys',
    kind: 'internal',
    description: 'A request that waits until the keys of access tokens (JWKS) are loaded.',
    attributes: ['error.type'],
    events: [],
  },
  counter: {
    name: 'count request',
    kind: 'client',
    description: 'Counting the request in Valkey for a rate limit.',
    attributes: ['error.type'],
    events: [],
  },
  transaction: {
    name: 'transaction',
    kind: 'internal',
    description:
      'A database transaction, from waiting for a connection to the commit, with all its attempts.',
    attributes: ['db.system.name', 'error.type'],
    events: ['transaction retry'],
  },
  statement: {
    name: '{db.query.summary}',
    kind: 'client',
    description: 'One SQL statement.',
    attributes: [
      'db.system.name',
      'db.operation.name',
      'db.query.summary',
      'db.response.status_code',
      'error.type',
    ],
    events: [],
  },
  duplicate: {
    name: 'wait for duplicate',
    kind: 'internal',
    description:
      'A request that waits for a concurrent request with the same idempotency key in this process.',
    attributes: ['error.type'],
    events: [],
  },
  append: {
    name: 'append {messaging.destination.name}',
    kind: 'producer',
    description: 'Writing events to the outbox. Its context is the creation context of the events.',
    attributes: [
      'messaging.system',
      'messaging.operation.name',
      'messaging.operation.type',
      'messaging.destination.name',
      'messaging.batch.message_count',
      'error.type',
    ],
    events: [],
  },
  send: {
    name: 'send {messaging.destination.name}',
    kind: 'client',
    description: 'One attempt of the relay to send an event. It starts a trace.',
    attributes: [
      'messaging.system',
      'messaging.operation.name',
      'messaging.operation.type',
      'messaging.destination.name',
      'messaging.message.id',
      'zerda.event.delivery',
      'zerda.correlation_id',
      'error.type',
    ],
    events: ['dead-lettered'],
    links: 'the span that wrote the event to the outbox',
  },
  process: {
    name: 'process {messaging.destination.name}',
    kind: 'consumer',
    description: 'Receiving and processing one delivery of an event. Its parent is the span that sent it.',
    attributes: [
      'messaging.system',
      'messaging.operation.name',
      'messaging.operation.type',
      'messaging.destination.name',
      'messaging.message.id',
      'messaging.consumer.group.name',
      'zerda.event.delivery',
      'zerda.event.outcome',
      'zerda.correlation_id',
      'error.type',
    ],
    events: ['dead-lettered'],
    links: 'the span that wrote the event to the outbox',
  },
  password: {
    name: 'password {zerda.password.kind}',
    kind: 'internal',
    description: 'Password work in the queue: waiting for its turn and hashing.',
    attributes: ['zerda.password.kind', 'error.type'],
    events: ['hash started'],
  },
} as const satisfies Readonly<Record<string, SpanDefinition>>;

export type SpanKey = keyof typeof spans;
