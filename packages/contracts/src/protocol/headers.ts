/** Names of the headers that the services speak beside the standard ones, in lower case as Node hands them over. */
export const headerNames = {
  /** Id of the request in the logs of every service it passes; adopted from the caller when short and plain. */
  correlationId: 'x-correlation-id',
  /** Names one POST, so that a repeat gets the first one's answer (draft-ietf-httpapi-idempotency-key-header). */
  idempotencyKey: 'idempotency-key',
  /** `true` on an answer that repeats an earlier one. */
  idempotencyReplayed: 'idempotency-replayed',
  /** Milliseconds that the caller still waits; recomputed at every hop, so clocks need not agree. */
  requestTimeout: 'x-request-timeout-ms',
  /** Code of the problem in the body, so that a proxy can tell kinds of errors without reading bodies. */
  problem: 'x-problem',
} as const;
