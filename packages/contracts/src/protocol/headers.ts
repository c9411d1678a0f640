/** Names of the headers that are not in an HTTP standard, in lower case as Node provides them. */
export const headerNames = {
  /** Id of the request in the logs of all services; taken from the caller if it is short and plain. */
  correlationId: 'x-correlation-id',
  /** Identifies a POST, so that a repeat gets the stored response (draft-ietf-httpapi-idempotency-key-header). */
  idempotencyKey: 'idempotency-key',
  /** `true` if the response is a stored one. */
  idempotencyReplayed: 'idempotency-replayed',
  /** Number of the delivery of an event over HTTP, 1 for the first one. */
  eventDelivery: 'x-event-delivery',
  /** Remaining time of the request in milliseconds; recomputed at every hop, so clocks need not be synchronized. */
  requestTimeout: 'x-request-timeout-ms',
  /** Trace and span of the response (`traceresponse` of the W3C Trace Context drafts), in the format of `traceparent`. */
  traceResponse: 'traceresponse',
  /** Time and signature of a request to a management port. */
  signature: 'x-event-signature',
  /** Code of the problem in the body, so that proxies can classify errors without parsing bodies. */
  problem: 'x-problem',
} as const;
