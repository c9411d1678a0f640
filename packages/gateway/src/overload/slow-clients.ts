import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { networkOf } from '@zerda/chassis/http/addresses';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import type { PolicyMetrics } from '../metrics/policy-metrics.ts';
import { type ConnectionQueue, createConnectionQueue } from './connection-queue.ts';

/** The transfer of a request body from a client, or of a response to it. */
export interface Transfer {
  readonly direction: 'request' | 'response';
  /** Returns the network address of the client; called only for slow clients. */
  network(): string;
  /** Returns the bytes that the client has sent or read so far. */
  bytes(): number;
  /** Returns whether the transfer waits for the client and not for the upstream. */
  isWaitingForClient(): boolean;
  /** Ends the transfer. The function that `watch` returned need not be called afterwards. */
  end(): void;
}

/** Watches transfers, and disconnects clients that are too slow or too many. */
export interface SlowClients {
  /** Watches a transfer until the returned function is called. */
  watch(transfer: Transfer): () => void;
  /** Counts a client that was disconnected because another request needed its upstream slot. */
  countReplaced(direction: Transfer['direction']): void;
  /** Stops the timer. */
  stop(): void;
}

export interface SlowClientsOptions {
  /** Minimum transfer rate in bytes per second, averaged over `graceMs`; 0 disables the check. */
  readonly minBytesPerSecond: number;
  /** Maximum slow clients, both directions together. */
  readonly max: number;
  /** Maximum slow clients from one network address. */
  readonly maxPerAddress: number;
  readonly metrics: Pick<PolicyMetrics, 'slowClientDisconnected'>;
  /** Disconnects clients in turn with the start of new connections; a queue of its own by default. */
  readonly queue?: Pick<ConnectionQueue, 'defer'>;
  /** Milliseconds after which a client is slow; 1000 by default. */
  readonly slowMs?: number;
  /** Milliseconds over which the rate is averaged; 10,000 by default. */
  readonly graceMs?: number;
}

/** Checks per `slowMs`: clients that connected at about the same time are not all disconnected in one check. */
const checksPerSlowMs = 10;

interface Watched {
  readonly transfer: Transfer;
  /** Time since which the transfer waits for the client, from `performance.now()`. */
  waitingSince: number;
  /** Start of the current rate measurement, and the bytes transferred by then. */
  measuredSince: number;
  bytesAtStart: number;
}

/**
 * Creates the watch of slow clients. A slow client takes no upstream slot and does not count as in flight, but its
 * connection and buffers use memory. So their number is limited, and each must sustain a minimum rate (like MinRate of
 * mod_reqtimeout in Apache httpd). Above the limit, addresses with the most slow clients lose the longest-waiting ones.
 */
export function createSlowClients({
  minBytesPerSecond,
  max,
  maxPerAddress,
  metrics,
  queue = createConnectionQueue(),
  slowMs = 1000,
  graceMs = 10_000,
}: SlowClientsOptions): SlowClients {
  const watched = new Set<Watched>();
  /** Clients that are too slow or too many, until their connection ends. */
  const excess = new Set<Watched>();

  /** Ends the transfer in a later turn: each needs a response and a log line, and other requests would wait for all of them. */
  function disconnect(client: Watched, reason: 'rate' | 'total' | 'address'): void {
    watched.delete(client);
    excess.add(client);
    queue.defer(client.transfer.network(), () => {
      if (!excess.delete(client)) return;
      metrics.slowClientDisconnected(client.transfer.direction, reason);
      client.transfer.end();
    });
  }

  /** Returns the slow clients, longest-waiting first. */
  function findSlow(now: number): Watched[] {
    const slow: Watched[] = [];
    for (const client of watched) {
      if (!client.transfer.isWaitingForClient()) {
        client.waitingSince = now;
        resetMeasurement(client, now);
      } else if (now - client.waitingSince >= slowMs) slow.push(client);
    }
    return slow.sort(byWaitTime);
  }

  /** Returns whether the rate of the last `graceMs` is too low. Earlier intervals do not count. */
  function isBelowRate(client: Watched, now: number): boolean {
    const ms = now - client.measuredSince;
    if (ms < graceMs) return false;
    if ((client.transfer.bytes() - client.bytesAtStart) * 1000 < minBytesPerSecond * ms) return true;
    resetMeasurement(client, now);
    return false;
  }

  function checkClients(): void {
    const now = performance.now();
    const byAddress = new Map<string, Watched[]>();
    for (const client of findSlow(now)) {
      if (isBelowRate(client, now)) {
        disconnect(client, 'rate');
        continue;
      }
      const network = client.transfer.network();
      const sameNetwork = byAddress.get(network);
      if (sameNetwork === undefined) byAddress.set(network, [client]);
      else sameNetwork.push(client);
    }
    const perAddress = [...byAddress.values()];
    const share = fairShare(perAddress);
    for (const clients of perAddress)
      for (const client of clients.splice(0, Math.max(0, clients.length - share)))
        disconnect(client, share < maxPerAddress ? 'total' : 'address');
    // There can be more addresses than `max`, so even one client each can be too many.
    const remaining = perAddress.flat().sort(byWaitTime);
    for (const client of remaining.slice(0, Math.max(0, remaining.length - max))) disconnect(client, 'total');
  }

  /** Returns the largest number of slow clients per address that keeps the total within `max`. */
  function fairShare(perAddress: readonly (readonly Watched[])[]): number {
    let share = maxPerAddress;
    while (share > 1 && perAddress.reduce((sum, { length }) => sum + Math.min(length, share), 0) > max)
      share -= 1;
    return share;
  }

  const timer = setInterval(checkClients, slowMs / checksPerSlowMs);
  timer.unref();
  return {
    watch(transfer) {
      const now = performance.now();
      const client = { transfer, waitingSince: now, measuredSince: now, bytesAtStart: transfer.bytes() };
      watched.add(client);
      return () => {
        watched.delete(client);
        excess.delete(client);
      };
    },
    countReplaced: (direction) => metrics.slowClientDisconnected(direction, 'replaced'),
    stop: () => clearInterval(timer),
  };
}

function resetMeasurement(client: Watched, now: number): void {
  client.measuredSince = now;
  client.bytesAtStart = client.transfer.bytes();
}

function byWaitTime(a: Watched, b: Watched): number {
  return a.waitingSince - b.waitingSince;
}

/** The objects needed to watch the client of a request. */
export interface ClientWatch {
  readonly request: IncomingMessage;
  readonly slowClients: SlowClients;
  readonly clientAddress: ClientAddress;
}

/** Watches a client that reads a response until the returned function is called. */
export function watchReader(
  { request, slowClients, clientAddress }: ClientWatch,
  end: () => void,
): () => void {
  const { socket } = request;
  return slowClients.watch({
    direction: 'response',
    network: () => networkOf(clientAddress(request)),
    bytes: () => bytesSent(socket),
    isWaitingForClient: () => socket.writableLength > 0,
    end,
  });
}

/** Properties of libuv's handle of a connection. */
interface Handle {
  readonly bytesWritten: number;
  /** Bytes that the kernel has not accepted yet. Partial writes reduce it; `writableLength` changes only after a whole write. */
  readonly writeQueueSize: number;
}

/** Returns the bytes of a connection that the kernel has accepted for sending. */
export function bytesSent(socket: Socket): number {
  const { _handle: handle } = socket as { readonly _handle?: Handle | null };
  return handle ? handle.bytesWritten - handle.writeQueueSize : socket.bytesWritten;
}

/** Unsent bytes of a response below which the client is not watched. */
const unwatchedBytes = 16 * 1024;

/** Connections on which responses wait for earlier ones. */
const pipelining = new WeakSet<Socket>();

/**
 * Watches the client of a complete response of which many bytes are unsent. Also watches every client that pipelines
 * requests (RFC 9112, section 9.3.2): many small responses may wait behind one that it does not read.
 */
export function watchResponse(watch: ClientWatch, response: ServerResponse): void {
  const { socket } = watch.request;
  if (response.socket === null && !pipelining.has(socket)) {
    pipelining.add(socket);
    socket.once('close', watchConnection(watch));
  }
  response.once('prefinish', () => {
    if (socket.writableLength > unwatchedBytes) response.once('close', watchConnection(watch));
  });
}

/** Watches a client that reads a response, and resets the connection when it is too slow. */
function watchConnection(watch: ClientWatch): () => void {
  return watchReader(watch, () => watch.request.socket.resetAndDestroy());
}
