import type { auditFields } from '@zerda/contracts/audit';

/** Fields of log lines with their meaning. A line contains only fields of this catalog, which the type of the logger checks. */
export const logFields = {
  time: 'Time of the line (RFC 3339, UTC, milliseconds).',
  level: '`trace`, `debug`, `info`, `warn`, `error` or `fatal`.',
  service: 'Name of the service.',
  stream:
    '`audit` in lines of the audit stream, which have [further fields](audit.md#fields); absent in others.',
  msg: 'What happened, in a few words without values. `request` is the line of a request.',
  correlation_id: 'Correlation id of the request, also in the lines of its events.',
  trace_id: 'Id of the trace.',
  span_id: 'Id of the span in which the line was written.',
  method: 'Method of the request.',
  route:
    'Path pattern of the request; `unmatched` without a route, `malformed` if the request is not valid HTTP.',
  status: 'Status of the response; 499 if the client disconnected before its end.',
  duration_ms:
    'Milliseconds from the head of the request to the end of the response; in debug lines, of the attempt or database operation.',
  bytes: 'Bytes written to the connection for the response.',
  client_address: 'Client address, as LOG_CLIENT_ADDRESS sets it.',
  subject:
    'In lines of requests, the subject of the access token (a user id), unless LOG_SUBJECT is false. In lines of events, the subject of the event.',
  err: 'Error with `type`, `message`, `code`, `stack` and its causes (`cause`, `errors`).',
  reason: 'Why something failed or was rejected, as a code or message.',
  problem: 'Code of the problem that the client received.',
  count: 'Number of warnings of this kind since the last line; repeated warnings are logged once a minute.',
  event_id: 'Id of the event.',
  type: 'Type of the event.',
  attempts: 'Number of attempts to send the event.',
  failures: 'Number of failed attempts to process the event.',
  transport: 'Transport of events: `http` or `nats`.',
  stream_sequence: 'Sequence number of the message in the NATS stream.',
  server: 'Address of the NATS server.',
  upstream: 'Name of the upstream.',
  circuit: 'Name of the circuit breaker.',
  retry_ms: 'Milliseconds until the circuit lets a probe through.',
  origin: 'URL of the upstream.',
  address: 'Network address that the line is about.',
  addresses: 'Addresses of the host that stay in use.',
  host: 'Host name of the DNS lookup.',
  entries: 'Number of entries in X-Forwarded-For.',
  hops: 'Number of trusted proxies (TRUSTED_PROXY_HOPS).',
  ranges: 'Ranges of TRUSTED_PROXIES that may include clients.',
  user_id: 'Id of the user that the line is about.',
  issuer: 'Issuer of access tokens.',
  endpoint: 'Host of the collector.',
  spans: 'Number of spans.',
  port: 'Port on which the server listens.',
  folder: 'Folder of the embedded database.',
  wait_ms: 'Milliseconds until the next attempt.',
  drain_ms: 'Milliseconds for which the service continues to accept requests.',
  signal: 'Signal that stops the process.',
  resource: 'Name of the resource that is closed.',
  ms: 'Duration in milliseconds.',
  outcome:
    'In debug lines, the result of the check, lookup, attempt, operation or delivery, as in the metrics.',
  attempt: 'Number of the attempt of a call to an upstream, 1 for the first one.',
  will_retry: 'Whether another attempt follows.',
  operation: 'Kind of the database operation: `query` or `transaction`.',
  replayed: 'Whether the response is the stored one of an earlier request with the same idempotency key.',
  scope: 'Rate limit that counts the request: `caller` or `upstream`.',
  limit: 'Maximum number of requests in a window of the rate limit.',
  remaining: 'Requests that are left in the window of the rate limit.',
  reset_seconds: 'Seconds until the next window of the rate limit.',
} as const satisfies Readonly<Record<string, string>>;

export type LogField = keyof typeof logFields;

/** Fields of a line, including those of the audit stream. */
export type LogFields = Readonly<Partial<Record<LogField | keyof typeof auditFields, unknown>>>;
