import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { Failure } from '@zerda/chassis/failure';
import {
  type Allowance,
  CallerGoneError,
  contextHeaders,
  type Upstream,
  type UpstreamAnswer,
  UpstreamTimeoutError,
} from '@zerda/chassis/http-client/upstream';
import type { Logger } from '@zerda/chassis/logging/logger';
import { currentContext, runInContext } from '@zerda/chassis/request-context';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { Dispatcher } from 'undici';

export interface Forwarding {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Path and query to ask the upstream for, unchanged. */
  readonly url: string;
  readonly upstream: Upstream;
  readonly logger: Logger;
}

/**
 * Passes a request on and its answer back, both as they come and neither of them read. Resolves once the head of the
 * answer is on its way; what goes wrong later can only cut the connection.
 * @throws what `Upstream.call` throws, and `Failure` when the request's own body does not come in time
 */
export async function forward(forwarding: Forwarding): Promise<void> {
  await forwarding.upstream.call((allowance) => exchange(forwarding, allowance));
}

function exchange(forwarding: Forwarding, allowance: Allowance): Promise<UpstreamAnswer> {
  const { request, response, url, upstream, logger } = forwarding;
  const context = currentContext();
  const body = hasBody(request) ? createBody(request) : null;

  return new Promise((resolve, reject) => {
    let controller: Dispatcher.DispatchController | undefined;
    let givenUp: Error | undefined;
    let headSent = false;

    const timer = setTimeout(() => {
      // As long as the request itself is not there, the upstream has nothing to answer.
      giveUp(
        request.complete
          ? new UpstreamTimeoutError(upstream.name, allowance)
          : new Failure('deadline-exceeded', { detail: 'The body of the request did not come in time.' }),
      );
    }, allowance.ms);
    response.once('close', () => {
      if (!response.writableFinished) giveUp(new CallerGoneError());
    });

    function giveUp(error: Error): void {
      if (givenUp !== undefined) return;
      givenUp = error;
      clearTimeout(timer);
      body?.destroy();
      controller?.abort(error);
      reject(error);
    }

    upstream.dispatcher.dispatch(
      {
        origin: upstream.origin,
        path: upstream.basePath + url,
        method: request.method ?? 'GET',
        headers: requestHeaders(request, allowance),
        body,
      },
      {
        onRequestStart(started) {
          controller = started;
          if (givenUp !== undefined) controller.abort(givenUp);
        },
        onResponseStart({ rawHeaders }, status) {
          // Interim answers (1xx) concern the hop alone.
          if (status < 200) return;
          clearTimeout(timer);
          const problem = startAnswer(response, status, (rawHeaders ?? []) as readonly Buffer[]);
          // The rest of a body that nobody waits for would be taken for the next request.
          if (!request.complete) response.setHeader('Connection', 'close');
          headSent = true;
          sendHeadSoon(response);
          resolve({ status, problem });
        },
        onResponseData(_controller, chunk) {
          if (response.write(chunk)) return;
          controller?.pause();
          response.once('drain', () => controller?.resume());
        },
        onResponseEnd() {
          if (request.complete) response.end();
          else endWhileReceiving(request, response);
        },
        onResponseError(_controller, error) {
          clearTimeout(timer);
          body?.destroy();
          if (givenUp !== undefined) return;
          if (!headSent) {
            reject(error);
            return;
          }
          runInContext(context, () =>
            logger.warn({ err: error, upstream: upstream.name }, 'answer broke off'),
          );
          // A reset, since to a client of HTTP/1.0 a plain close would be the end of a whole answer.
          response.socket?.resetAndDestroy();
        },
      },
    );
  });
}

/** RFC 9112, section 6.3: a request has a body exactly when one of these says so. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** A stream of its own: undici destroys what it reads, and a destroyed request would take the answer with it. */
function createBody(request: IncomingMessage): PassThrough {
  const body = new PassThrough();
  // Its errors reach the caller through the call; without a listener they would end the process.
  body.on('error', () => undefined);
  return request.pipe(body);
}

/** What concerns one connection only (RFC 9110, section 7.6.1), with the trailers that are not passed on. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Headers of the request that the gateway writes itself, or has already obeyed. */
const replaced = new Set<string>([
  'expect',
  'forwarded',
  'host',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  headerNames.correlationId,
  headerNames.requestTimeout,
]);

function requestHeaders(request: IncomingMessage, allowance: Allowance): string[] {
  const { rawHeaders, headers, socket } = request;
  const named = connectionOptions(headers.connection);
  const passed: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const key = name.toLowerCase();
    if (!hopByHop.has(key) && !replaced.has(key) && !named.has(key))
      passed.push(name, rawHeaders[index + 1] ?? '');
  }
  for (const [name, value] of Object.entries(contextHeaders(allowance))) passed.push(name, value);
  const client = (socket.remoteAddress ?? 'unknown').replace(/^::ffff:/, '');
  passed.push('x-forwarded-for', appended(headers['x-forwarded-for'], client));
  passed.push('x-forwarded-proto', 'encrypted' in socket ? 'https' : 'http');
  if (headers.host !== undefined) passed.push('x-forwarded-host', headers.host);
  passed.push('via', appended(headers.via, `${request.httpVersion} zerda`));
  return passed;
}

function appended(list: string | string[] | undefined, entry: string): string {
  const before = Array.isArray(list) ? list.join(', ') : list;
  return before === undefined || before === '' ? entry : `${before}, ${entry}`;
}

/** Names of headers that the sender's `Connection` header makes hop-by-hop too. */
function connectionOptions(header: string | undefined): ReadonlySet<string> {
  if (header === undefined || header === 'keep-alive' || header === 'close') return none;
  return new Set(header.split(',').map((option) => option.trim().toLowerCase()));
}

const none: ReadonlySet<string> = new Set();

/**
 * Writes status and headers of the upstream's answer; what the gateway has set already stays. Bytes are read as
 * Latin-1, which Node writes back unchanged. Returns the value of `X-Problem`.
 */
function startAnswer(response: ServerResponse, status: number, raw: readonly Buffer[]): string | undefined {
  const own = new Set(response.getHeaderNames());
  const pairs: [string, string][] = [];
  let named = none;
  let problem: string | undefined;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]?.toString('latin1').toLowerCase() ?? '';
    const value = raw[index + 1]?.toString('latin1') ?? '';
    if (name === 'connection') named = connectionOptions(value.toLowerCase());
    if (name === headerNames.problem) problem = value;
    if (!hopByHop.has(name) && !own.has(name)) pairs.push([name, value]);
  }
  response.statusCode = status;
  for (const [name, value] of pairs) {
    if (!named.has(name)) response.appendHeader(name, value);
  }
  return problem;
}

/**
 * The head leaves with the first bytes of the body when those are already there, else alone: a client must see that
 * an answer has begun although the rest of it takes time.
 */
function sendHeadSoon(response: ServerResponse): void {
  setImmediate(() => {
    if (!response.headersSent && !response.destroyed) response.flushHeaders();
  });
}

/** Milliseconds that the rest of a refused body is read for and thrown away. */
const lingerMs = 1000;

/**
 * The service has answered before it had the whole body (413, say). Closing at once, with bytes of the body unread,
 * would reset the connection and could take the answer away from the client; so it gets a moment to read and stop.
 */
function endWhileReceiving(request: IncomingMessage, response: ServerResponse): void {
  request.unpipe();
  request.resume();
  const timer = setTimeout(end, lingerMs);
  function end(): void {
    clearTimeout(timer);
    response.end();
  }
  request.once('end', end);
  request.once('close', end);
  if (!response.headersSent) response.flushHeaders();
}
