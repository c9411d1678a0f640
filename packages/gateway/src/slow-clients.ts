import type { IncomingMessage, ServerResponse } from 'node:http';
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
  /** Bytes a second that a client must send or take on average, once it has had `graceMs`; 0 is without such a rate. */
  readonly minBytesPerSecond: number;
  /** Slow clients at most, in both directions together. */
  readonly max: number;
  /** Slow clients of one network address at most. */
  readonly maxPerAddress: number;
  readonly metrics: Pick<PolicyMetrics, 'slowClientDisconnected'>;
  /** Milliseconds after which a client is slow; 1000 by default. */
  readonly slowMs?: number;
  /** Milliseconds before the rate counts; 10,000 by default. */
  readonly graceMs?: number;
}

/** Looks in the time after which a client is slow: those that came together are not disconnected together. */
const looksPerTime = 10;

interface Watched {
  readonly transfer: Transfer;
  /** Since when it is the client's turn, on the clock of `performance.now()`. */
  since: number;
  bytesBefore: number;
}

/**
 * A slow client takes no slot of a service and does not count as a request in flight, but its connection and what is kept for it
 * take memory. So their number is bounded, and each must keep up a rate (as the MinRate of mod_reqtimeout in Apache httpd). Where
 * there are too many, those that have been slow for longest are disconnected: they have had most of the time.
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
        client.bytesBefore = client.transfer.bytes();
      } else if (now - client.since >= slowMs) slow.push(client);
    }
    return slow.sort((a, b) => a.since - b.since);
  }

  function isTooSlow({ transfer, since, bytesBefore }: Watched, now: number): boolean {
    const ms = now - since;
    return ms >= graceMs && (transfer.bytes() - bytesBefore) * 1000 < minBytesPerSecond * ms;
  }

  function look(): void {
    const now = performance.now();
    const perAddress = new Map<string, number>();
    let total = 0;
    for (const client of findSlow(now).reverse()) {
      const network = client.transfer.network();
      const ofAddress = perAddress.get(network) ?? 0;
      if (isTooSlow(client, now)) disconnect(client, 'rate');
      else if (ofAddress >= maxPerAddress) disconnect(client, 'address');
      else if (total >= max) disconnect(client, 'total');
      else {
        perAddress.set(network, ofAddress + 1);
        total += 1;
      }
    }
  }

  const timer = setInterval(look, slowMs / looksPerTime);
  timer.unref();
  return {
    watch(transfer) {
      const client = { transfer, since: performance.now(), bytesBefore: transfer.bytes() };
      watched.add(client);
      return () => watched.delete(client);
    },
    countReplaced: (direction) => metrics.slowClientDisconnected(direction, 'replaced'),
    stop: () => clearInterval(timer),
  };
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
    bytes: () => socket.bytesWritten - socket.writableLength,
    isClientsTurn: () => true,
    end,
  });
}

/** Bytes of a response that may wait for a client without being watched. */
const unwatchedBytes = 16 * 1024;

/** Watches the client of a response that is complete here, where much of it is still to be taken. */
export function watchEndedResponse(watch: ClientWatch, response: ServerResponse): void {
  response.once('prefinish', () => {
    const { socket } = watch.request;
    if (socket.writableLength <= unwatchedBytes) return;
    response.once(
      'close',
      watchReader(watch, () => socket.resetAndDestroy()),
    );
  });
}
