import type { Socket } from 'node:net';

/** As much of undici's parser of responses as is used here. */
interface ResponseParser {
  onHeadersComplete: (status: number, upgrade: boolean, keepAlive: boolean) => number;
}

/** A status that no specification defines, which every handler ignores as it ignores other unknown interim responses. */
const unknownInterim = 199;

/**
 * Lets undici skip `100 Continue`. A server may send it although the request does not expect it, and a client must be able to read it
 * (RFC 9110, section 15.2); undici closes the connection instead. undici has no option for this and does not export its parser, so
 * this function replaces one method of the parser that belongs to the socket. A test fails if a later version has none.
 * @param socket a connection that undici has just been given
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
