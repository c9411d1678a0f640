import type { IncomingMessage, ServerResponse } from 'node:http';
import helmet from 'helmet';

/** A middleware for Express and for plain Node alike. */
export type SetSecurityHeaders = (
  request: IncomingMessage,
  response: ServerResponse,
  next: () => void,
) => void;

/** Puts helmet's headers on every answer. Their values never change, so they are computed once. */
export function createSecurityHeaders(): SetSecurityHeaders {
  const headers = new Map<string, string>();
  const recorder = {
    setHeader: (name: string, value: string) => void headers.set(name, value),
    removeHeader: () => undefined,
  };
  helmet()({} as IncomingMessage, recorder as unknown as ServerResponse, (error) => {
    if (error !== undefined) throw error;
  });
  return (_request, response, next) => {
    for (const [name, value] of headers) response.setHeader(name, value);
    next();
  };
}
