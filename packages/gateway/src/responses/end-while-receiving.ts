import type { IncomingMessage, ServerResponse } from 'node:http';
import { onePerTurn } from '../overload/next-turn.ts';

/** Maximum milliseconds for which the rest of a request body is read and discarded. */
const lingerMs = 1000;

/**
 * Ends connections whose time is over. Node.js runs timers until none is due. When hundreds of clients are rejected, ending
 * each takes longer than it takes until the next is due, and no other request would be served meanwhile.
 */
const endInTurn = onePerTurn();

/**
 * Ends a response that is complete before the whole request has arrived. Closing with unread bytes would reset the
 * connection, and the client could lose the response. So the gateway reads on for a moment (lingering close in nginx).
 */
export function endWhileReceiving(request: IncomingMessage, response: ServerResponse): void {
  request.removeAllListeners('data');
  request.resume();
  if (request.complete) {
    response.end();
    return;
  }
  const timer = setTimeout(() => endInTurn(end), lingerMs);
  function end(): void {
    clearTimeout(timer);
    response.end();
  }
  request.once('end', end);
  request.once('close', end);
  response.flushHeaders();
}
