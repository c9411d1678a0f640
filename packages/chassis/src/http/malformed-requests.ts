import { randomUUID } from 'node:crypto';
import { type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { type ProblemCode, problemTypes } from '@zerda/contracts/problems';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { type IdentifiedRequest, requestLogFields } from '../request-context.ts';
import { newTraceparent } from '../tracing/traceparent.ts';
import { problemMessage } from './problem-response.ts';
import { createResponseHeaders } from './response-headers.ts';

export interface MalformedRequestsOptions {
  readonly logger: Pick<Logger, 'info'>;
  readonly metrics: Pick<Metrics, 'requestStarted' | 'requestEnded'>;
}

/** Milliseconds until the connection is destroyed, so that the client can read the response. Further input is discarded. */
const lingerMs = 1000;

/** Problem types by error code of the parser of Node.js. All other errors are `invalid-request`. */
const problems: ReadonlyMap<string, ProblemCode> = new Map([
  ['HPE_HEADER_OVERFLOW', 'too-many-headers'],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', 'payload-too-large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'request-timeout'],
]);

/**
 * Responds to requests that Node.js cannot parse with problem details, and counts and logs them under the route `malformed`. By default
 * Node.js sends a bare status line, and the application does not see the request.
 */
export function rejectMalformedRequests(server: Server, { logger, metrics }: MalformedRequestsOptions): void {
  const responded = new WeakSet<Socket>();
  const securityHeaders = createResponseHeaders();

  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    const socket = stream as Socket;
    // Further input on this connection cannot be parsed either.
    if (responded.has(socket)) return;
    responded.add(socket);
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const pending = pendingResponse(socket);
    if (pending?.headersSent) {
      socket.destroy();
      return;
    }
    const code = problems.get(error.code ?? '') ?? 'invalid-request';
    const { status } = problemTypes[code];
    const context = { correlationId: randomUUID(), traceparent: newTraceparent() };
    // A request whose head was parsed is already logged and counted. A connection without any byte is not a request.
    if (pending === undefined && socket.bytesRead > 0) {
      metrics.requestStarted();
      metrics.requestEnded({ method: '', route: 'malformed', status }, 0);
      const reason = error.code ?? 'unknown';
      logger.info({ ...requestLogFields(context), route: 'malformed', status, reason }, 'request');
    }
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => clearTimeout(timer));
    socket.end(responseText(code, context, securityHeaders.list(context)), 'latin1');
  });
}

/** Returns the response that Node.js would send next on a connection. */
function pendingResponse(socket: Socket): { readonly headersSent: boolean } | undefined {
  return (socket as { _httpMessage?: { readonly headersSent: boolean } | null })._httpMessage ?? undefined;
}

function responseText(code: ProblemCode, context: IdentifiedRequest, headers: readonly string[]): string {
  const { status } = problemTypes[code];
  const problem = problemMessage({ code }, context);
  const pairs = [...headers, ...problem.headers, 'Connection', 'close', 'Date', new Date().toUTCString()];
  const lines = pairs.flatMap((text, index) => (index % 2 === 0 ? [`${text}: ${pairs[index + 1]}\r\n`] : []));
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${problem.body}`;
}
