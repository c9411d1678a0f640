import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Responses that wait for earlier responses of their connection (pipelining, RFC 9112, section 9.3.2). */
const queues = new WeakMap<Socket, Set<ServerResponse>>();

/**
 * Maximum number of queued responses per connection. A client that pipelines more requests is disconnected; clients must be prepared to
 * send pipelined requests again (RFC 9112, section 9.3.2).
 */
const maxQueued = 256;

/** Emits `close` on a queued response when its connection closes. Node.js does so only for the response that is being sent. */
export function closeWithConnection({ socket }: IncomingMessage, response: ServerResponse): void {
  if (response.socket !== null) return;
  const queue = queues.get(socket) ?? startQueue(socket);
  queue.add(response);
  if (queue.size > maxQueued) socket.destroy();
  response.once('socket', () => queue.delete(response));
}

function startQueue(socket: Socket): Set<ServerResponse> {
  const queue = new Set<ServerResponse>();
  queues.set(socket, queue);
  socket.once('close', () => {
    for (const response of queue) {
      response.destroy();
      response.emit('close');
    }
  });
  return queue;
}
