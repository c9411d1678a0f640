import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Answers that wait until those to earlier requests of their connection have left (pipelining, RFC 9112, section 9.3.2). */
const queues = new WeakMap<Socket, Set<ServerResponse>>();

/**
 * Answers that may wait on one connection. A client that sends more requests without reading is disconnected; it must be ready to send
 * them again in any case (RFC 9112, section 9.3.2).
 */
const mostQueued = 256;

/** Lets an answer hear of the end of its connection while it waits: Node tells only the one that is being sent. */
export function closeWithConnection({ socket }: IncomingMessage, response: ServerResponse): void {
  if (response.socket !== null) return;
  const queue = queues.get(socket) ?? startQueue(socket);
  queue.add(response);
  if (queue.size > mostQueued) socket.destroy();
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
