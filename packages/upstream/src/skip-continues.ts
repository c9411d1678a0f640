import type { Socket } from 'node:net';

/** The used part of the response parser of undici. */
interface ResponseParser {
  onHeadersComplete: (status: number, upgrade: boolean, keepAlive: boolean) => number;
}

/** An undefined 1xx status, which handlers ignore like all unknown interim responses. */
const unknownInterim = 199;

/**
 * Makes undici skip `100 Continue`. A server may send it even if the request does not expect it, and a client must be able to parse it
 * (RFC 9110, section 15.2). undici closes the connection instead. It has no option for this and does not export its parser, so this
 * function replaces one method of the parser of the socket. A test fails if a later version has no such parser.
 * @param socket a connection that was just passed to undici
 */
export function skipContinues(socket: Socket): void {
  const parserKey = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'parser');
  if (parserKey === undefined) return;
  const parser = (socket as unknown as Record<symbol, ResponseParser | null>)[parserKey];
  if (typeof parser?.onHeadersComplete !== 'function') return;
  const original = parser.onHeadersComplete;
  parser.onHeadersComplete = (status, upgrade, keepAlive) =>
    original.call(parser, status === 100 ? unknownInterim : status, upgrade, keepAlive);
}
