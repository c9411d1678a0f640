import { randomUUID } from 'node:crypto';
import { type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { type ProblemCode, problemTypes } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { createAnswerHeaders } from './answer-headers.ts';
import { problemMessage } from './problem-response.ts';

export interface MalformedRequestsOptions {
  readonly logger: Pick<Logger, 'info'>;
  readonly metrics: Pick<Metrics, 'requestStarted' | 'requestEnded'>;
}

/** Milliseconds that a client has to read the response while the rest of what it sends is discarded. */
const lingerMs = 1000;

/** What errors of Node's parser mean; any other one is a malformed request. */
const problems: ReadonlyMap<string, ProblemCode> = new Map([
  ['HPE_HEADER_OVERFLOW', 'too-many-headers'],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', 'payload-too-large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'request-timeout'],
]);

/**
 * Answers requests that Node cannot parse with problem details, counts them under the route `malformed` and logs them. Without this, Node
 * answers with a bare status line and no application learns of the request.
 */
export function answerMalformedRequests(server: Server, { logger, metrics }: MalformedRequestsOptions): void {
  const answered = new WeakSet<Socket>();
  const security = createAnswerHeaders();

  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    const socket = stream as Socket;
    // The rest of what the client sends cannot be parsed either.
    if (answered.has(socket)) return;
    answered.add(socket);
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
    const correlationId = randomUUID();
    // A request whose head was read is in the log and the metrics already, and a connection without a byte is none.
    if (pending === undefined && socket.bytesRead > 0) {
      metrics.requestStarted();
      metrics.requestEnded({ method: '', route: 'malformed', status }, 0);
      const reason = error.code ?? 'unknown';
      logger.info({ correlation_id: correlationId, route: 'malformed', status, reason }, 'request');
    }
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => clearTimeout(timer));
    socket.end(responseText(code, correlationId, security.list(undefined)), 'latin1');
  });
}

/** The response that Node would write next on a connection. */
function pendingResponse(socket: Socket): { readonly headersSent: boolean } | undefined {
  return (socket as { _httpMessage?: { readonly headersSent: boolean } | null })._httpMessage ?? undefined;
}

function responseText(code: ProblemCode, correlationId: string, headers: readonly string[]): string {
  const { status } = problemTypes[code];
  const problem = problemMessage({ code }, correlationId);
  const pairs = [
    ...headers,
    ...[headerNames.correlationId, correlationId],
    ...problem.headers,
    ...['Connection', 'close', 'Date', new Date().toUTCString()],
  ];
  const lines = pairs.flatMap((text, index) => (index % 2 === 0 ? [`${text}: ${pairs[index + 1]}\r\n`] : []));
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${problem.body}`;
}
