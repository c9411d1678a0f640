import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { networkOf } from '@zerda/chassis/http/addresses';
import { inNextTurn } from './next-turn.ts';

/**
 * Starts new connections in fair order by client network, as FQ-CoDel does with packets (RFC 8290): the first connection of a
 * network starts at once, its further ones take turns with those of other networks. While clients connect, few
 * of these start. Node.js accepts one connection per turn of its event loop, so this keeps turns short, and a client does
 * not wait in the accept queue for the requests of the clients before it.
 */
export interface ConnectionQueue {
  /** Calls `start` at once or in a later turn. @param network network address of the client */
  add(network: string, start: () => void): void;
  /** Calls `work` in a later turn, like the start of a connection that waits. */
  defer(network: string, work: () => void): void;
}

export interface ConnectionQueueOptions {
  /** Maximum connections that wait; 4096 by default. Above it, one starts for each that is added. */
  readonly maxWaiting?: number;
  /** Added connections after which one that waits starts although clients still connect; 16 by default. */
  readonly addedPerStart?: number;
  /** Called in each turn in which connections are added or wait. */
  readonly onWaiting?: () => void;
}

/** Creates an empty queue. */
export function createConnectionQueue({
  maxWaiting = 4096,
  addedPerStart = 16,
  onWaiting,
}: ConnectionQueueOptions = {}): ConnectionQueue {
  /** Waiting connections by network, in the order in which the networks take turns. */
  const queues = new Map<string, (() => void)[]>();
  /** Networks of which a connection has started since the last turn in which none was added. */
  const served = new Set<string>();
  let waiting = 0;
  let wereAdded = false;
  /** Connections added since the last start from the queue. One that started at once counts like `addedPerStart`. */
  let addedSinceStart = 0;

  /** Starts the connection whose turn it is, if any waits. */
  function startNext(): void {
    addedSinceStart = 0;
    const [next] = queues;
    if (next === undefined) return;
    const [network, starts] = next;
    const start = starts.shift();
    queues.delete(network);
    if (starts.length > 0) queues.set(network, starts);
    served.add(network);
    waiting -= 1;
    start?.();
  }

  const scheduleTurn = inNextTurn(() => {
    if (!wereAdded) served.clear();
    if (!wereAdded || addedSinceStart >= addedPerStart) startNext();
    if (wereAdded || waiting > 0) onWaiting?.();
    wereAdded = false;
    if (waiting > 0 || served.size > 0) scheduleTurn();
  });

  function defer(network: string, start: () => void): void {
    const starts = queues.get(network);
    if (starts === undefined) queues.set(network, [start]);
    else starts.push(start);
    waiting += 1;
    scheduleTurn();
    if (waiting > maxWaiting) startNext();
  }

  return {
    defer,
    add(network, start) {
      wereAdded = true;
      if (queues.has(network) || served.has(network)) {
        addedSinceStart += 1;
        defer(network, start);
        return;
      }
      // Otherwise clients with many addresses could prevent the disconnection of slow ones.
      addedSinceStart += addedPerStart;
      served.add(network);
      scheduleTurn();
      start();
    },
  };
}

/** Makes the new connections of a server wait in a queue. Call it before the first client connects. */
export function queueConnections(server: Server, queue: ConnectionQueue): void {
  const listeners = server.listeners('connection');
  server.removeAllListeners('connection');
  // An option of `net.createServer` that `http.createServer` does not pass on. Waiting connections then buffer no data.
  Object.assign(server, { pauseOnConnect: true });
  server.on('connection', (socket: Socket) =>
    queue.add(networkOf(socket.remoteAddress ?? ''), () => {
      for (const listener of listeners) listener.call(server, socket);
      socket.resume();
    }),
  );
}
