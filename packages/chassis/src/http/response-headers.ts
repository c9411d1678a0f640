import type { IncomingMessage, ServerResponse } from 'node:http';
import { headerNames } from '@zerda/contracts/protocol/headers';
import helmet, { type HelmetOptions } from 'helmet';
import { currentContext, type IdentifiedRequest } from '../request-context.ts';

/** Headers of every response: the security headers of helmet, the correlation id and the trace. */
export interface ResponseHeaders {
  /** Names in lower case. */
  readonly names: ReadonlySet<string>;
  /** Returns a flat list for `writeHead`: name, value, name, value. */
  list(context: IdentifiedRequest | undefined): string[];
  /** Sets the headers on a response. */
  setOn(response: ServerResponse, context: IdentifiedRequest | undefined): void;
  /** Middleware for Express and plain Node.js that sets the headers with the ids of the current request. */
  readonly set: (request: IncomingMessage, response: ServerResponse, next: () => void) => void;
}

/**
 * Creates the response headers. The values of helmet are computed once, since they never change. `Strict-Transport-Security` is not
 * included: it must not be sent over HTTP (RFC 6797, section 7.2), and the gateway adds it to responses over HTTPS.
 * @param options options of helmet; the defaults of helmet if omitted
 */
export function createResponseHeaders(options?: HelmetOptions): ResponseHeaders {
  const security: string[] = [];
  const recorder = {
    setHeader: (name: string, value: string) => void security.push(name, value),
    removeHeader: () => undefined,
  };
  helmet({ ...options, strictTransportSecurity: false } as HelmetOptions)(
    {} as IncomingMessage,
    recorder as unknown as ServerResponse,
    (error) => {
      if (error !== undefined) throw error;
    },
  );

  function list(context: IdentifiedRequest | undefined): string[] {
    if (context === undefined) return security;
    const { correlationId, traceparent } = context;
    if (traceparent === undefined) return [...security, headerNames.correlationId, correlationId];
    return [...security, headerNames.correlationId, correlationId, headerNames.traceResponse, traceparent];
  }
  function setOn(response: ServerResponse, context: IdentifiedRequest | undefined): void {
    const headers = list(context);
    for (let index = 0; index < headers.length; index += 2) {
      response.setHeader(headers[index] ?? '', headers[index + 1] ?? '');
    }
  }
  return {
    names: new Set([
      ...security.filter((_text, index) => index % 2 === 0).map((name) => name.toLowerCase()),
      headerNames.correlationId,
      headerNames.traceResponse,
    ]),
    list,
    setOn,
    set(_request, response, next) {
      setOn(response, currentContext());
      next();
    },
  };
}
