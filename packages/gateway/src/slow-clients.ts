import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { networkOf } from '@zerda/chassis/http/addresses';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import type { PolicyMetrics } from '@zerda/chassis/metrics/policy-metrics';

/** A client that is to send the rest of a request, or to take the rest of a response. */
export interface Transfer {
  readonly direction: 'request' | 'response';
  /** Network address of the client; asked for only when it is slow. */
  network(): string;
  /** Bytes that the client has sent or taken so far. */
  bytes(): number;
  /** False while it is somebody else who is waited for. */
  isClientsTurn(): boolean;
  /** Ends the transfer; the function that `watch` returned need not be called any more. */
  end(): void;
}

/** Watches clients that take a while, and disconnects those that are too slow or too many. */
export interface SlowClients {
  /** Watches a transfer until the function that it returns is called. */
  watch(transfer: Transfer): () => void;
  /** Counts a client that was disconnected because others waited for its place at a service. */
  countReplaced(direction: Transfer['direction']): void;
  /** Stops looking. */
  stop(): void;
}

export interface SlowClientsOptions {
  /** Bytes a second that a client must send or take on average of each `graceMs`; 0 is without such a rate. */
  readonly minBytesPerSecond: number;
  /** Slow clients at most, in both directions together. */
  readonly max: number;
  /** Slow clients of one network address at most. */
  readonly maxPerAddress: number;
  readonly metrics: Pick<PolicyMetrics, 'slowClientDisconnected'>;
  /** Milliseconds after which a client is slow; 1000 by default. */
  readonly slowMs?: number;
  /** Milliseconds that the rate is measured over; 10,000 by default. */
  readonly graceMs?: number;
}

/** Looks in the time after which a client is slow: those that came together are not disconnected together. */
const looksPerTime = 10;

interface Watched {
  readonly transfer: Transfer;
  /** Since when it is the client's turn, on the clock of `performance.now()`. */
  since: number;
  /** Since when its rate is measured, and what it had sent or taken by then. */
  measuredSince: number;
  bytesBefore: number;
}

/**
 * A slow client takes no slot of a service and does not count as a request in flight, but its connection and what is kept for it
 * take memory. So their number is bounded, and each must keep up a rate (as the MinRate of mod_reqtimeout in Apache httpd). Where
 * there are too many, the addresses with most of them lose those that have been slow for longest.
 */
export function createSlowClients({
  minBytesPerSecond,
  max,
  maxPerAddress,
  metrics,
  slowMs = 1000,
  graceMs = 10_000,
}: SlowClientsOptions): SlowClients {
  const watched = new Set<Watched>();

  function disconnect(client: Watched, reason: 'rate' | 'total' | 'address'): void {
    watched.delete(client);
    metrics.slowClientDisconnected(client.transfer.direction, reason);
    client.transfer.end();
  }

  /** Those that have had more than a moment, in the order in which their turn began. */
  function findSlow(now: number): Watched[] {
    const slow: Watched[] = [];
    for (const client of watched) {
      if (!client.transfer.isClientsTurn()) {
        client.since = now;
        measureAnew(client, now);
      } else if (now - client.since >= slowMs) slow.push(client);
    }
    return slow.sort(byAge);
  }

  /** Each `graceMs` are measured by themselves: what was quick before is no credit. */
  function isTooSlow(client: Watched, now: number): boolean {
    const ms = now - client.measuredSince;
    if (ms < graceMs) return false;
    if ((client.transfer.bytes() - client.bytesBefore) * 1000 < minBytesPerSecond * ms) return true;
    measureAnew(client, now);
    return false;
  }

  function look(): void {
    const now = performance.now();
    const byAddress = new Map<string, Watched[]>();
    for (const client of findSlow(now)) {
      if (isTooSlow(client, now)) {
        disconnect(client, 'rate');
        continue;
      }
      const network = client.transfer.network();
      const others = byAddress.get(network);
      if (others === undefined) byAddress.set(network, [client]);
      else others.push(client);
    }
    const perAddress = [...byAddress.values()];
    const share = shareOf(perAddress);
    for (const clients of perAddress)
      for (const client of clients.splice(0, Math.max(0, clients.length - share)))
        disconnect(client, share < maxPerAddress ? 'total' : 'address');
    // More addresses than clients may be slow.
    const left = perAddress.flat().sort(byAge);
    for (const client of left.slice(0, Math.max(0, left.length - max))) disconnect(client, 'total');
  }

  /** Slow clients that each address may have, so that all of them together are not too many: those with most lose theirs first. */
  function shareOf(perAddress: readonly (readonly Watched[])[]): number {
    let share = maxPerAddress;
    while (share > 1 && perAddress.reduce((sum, { length }) => sum + Math.min(length, share), 0) > max)
      share -= 1;
    return share;
  }

  const timer = setInterval(look, slowMs / looksPerTime);
  timer.unref();
  return {
    watch(transfer) {
      const now = performance.now();
      const client = { transfer, since: now, measuredSince: now, bytesBefore: transfer.bytes() };
      watched.add(client);
      return () => watched.delete(client);
    },
    countReplaced: (direction) => metrics.slowClientDisconnected(direction, 'replaced'),
    stop: () => clearInterval(timer),
  };
}

function measureAnew(client: Watched, now: number): void {
  client.measuredSince = now;
  client.bytesBefore = client.transfer.bytes();
}

function byAge(a: Watched, b: Watched): number {
  return a.since - b.since;
}

/** What it takes to watch the client of a request. */
export interface ClientWatch {
  readonly request: IncomingMessage;
  readonly slowClients: SlowClients;
  readonly clientAddress: ClientAddress;
}

/** Watches a client that has not taken all that there is of a response, until the function that it returns is called. */
export function watchReader(
  { request, slowClients, clientAddress }: ClientWatch,
  end: () => void,
): () => void {
  const { socket } = request;
  return slowClients.watch({
    direction: 'response',
    network: () => networkOf(clientAddress(request)),
    bytes: () => bytesTaken(socket),
    isClientsTurn: () => socket.writableLength > 0,
    end,
  });
}

/** What libuv tells of a connection. */
interface Handle {
  readonly bytesWritten: number;
  /** Bytes that the system has not taken yet; less with each part of a write, where `writableLength` falls at its end. */
  readonly writeQueueSize: number;
}

/** Bytes that the system has taken for the client of a connection. */
export function bytesTaken(socket: Socket): number {
  const { _handle: handle } = socket as { readonly _handle?: Handle | null };
  return handle ? handle.bytesWritten - handle.writeQueueSize : socket.bytesWritten;
}

/** Bytes of a response that may wait for a client without being watched. */
const unwatchedBytes = 16 * 1024;

/** Connections with responses that wait for earlier ones. */
const pipelining = new WeakSet<Socket>();

/**
 * Watches the client of a response that is complete here, where much of it is still to be taken; and every client that sends requests
 * without waiting for responses (pipelining, RFC 9112, section 9.3.2): many small ones may wait behind one that it does not take.
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

/** Watches a reader whose connection ends with the watch. */
function watchConnection(watch: ClientWatch): () => void {
  return watchReader(watch, () => watch.request.socket.resetAndDestroy());
}
