import type { IncomingMessage, ServerResponse } from 'node:http';

/** Milliseconds that the rest of a body is read for and thrown away. */
const lingerMs = 1000;

/**
 * Ends an answer that is there before the whole request is. Closing at once, with bytes of the body unread, would
 * reset the connection and could take the answer away from the client; so it gets a moment to read and stop.
 */
export function endWhileReceiving(request: IncomingMessage, response: ServerResponse): void {
  request.removeAllListeners('data');
  request.resume();
  if (request.complete) {
    response.end();
    return;
  }
  const timer = setTimeout(end, lingerMs);
  function end(): void {
    clearTimeout(timer);
    response.end();
  }
  request.once('end', end);
  request.once('close', end);
  response.flushHeaders();
}
