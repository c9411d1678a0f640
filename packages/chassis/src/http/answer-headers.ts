import type { IncomingMessage, ServerResponse } from 'node:http';
import { headerNames } from '@zerda/contracts/protocol/headers';
import helmet, { type HelmetOptions } from 'helmet';
import { currentContext, type RequestContext } from '../request-context.ts';

/** Headers that every answer carries: helmet's, and the correlation id of the request in hand. */
export interface AnswerHeaders {
  /** Their names, in lower case. */
  readonly names: ReadonlySet<string>;
  /** Name, value, name, value: as `writeHead` takes them at the least cost. */
  list(context: RequestContext | undefined): string[];
  /** Sets them on an answer. */
  setOn(response: ServerResponse, context: RequestContext | undefined): void;
  /** Sets them, for the request in hand: a middleware for Express and for plain Node alike. */
  readonly set: (request: IncomingMessage, response: ServerResponse, next: () => void) => void;
}

/**
 * Helmet's values never change, so they are computed once. `Strict-Transport-Security` is not among them: services speak HTTP, where it
 * must not be sent (RFC 6797, section 7.2), and the gateway adds it to what clients ask for over HTTPS.
 * @param options which of helmet's headers there are; its defaults by default
 */
export function createAnswerHeaders(options?: HelmetOptions): AnswerHeaders {
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

  function list(context: RequestContext | undefined): string[] {
    return context === undefined ? security : [...security, headerNames.correlationId, context.correlationId];
  }
  function setOn(response: ServerResponse, context: RequestContext | undefined): void {
    const headers = list(context);
    for (let index = 0; index < headers.length; index += 2) {
      response.setHeader(headers[index] ?? '', headers[index + 1] ?? '');
    }
  }
  return {
    names: new Set([
      ...security.filter((_text, index) => index % 2 === 0).map((name) => name.toLowerCase()),
      headerNames.correlationId,
    ]),
    list,
    setOn,
    set(_request, response, next) {
      setOn(response, currentContext());
      next();
    },
  };
}
