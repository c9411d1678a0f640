import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An event as a receiver got it. */
export interface Delivery {
  readonly id: string;
  readonly subject: string;
  readonly version: number;
}

/** An HTTP sink that accepts all events and records them in order of arrival. */
export interface EventRecorder {
  readonly port: number;
  readonly deliveries: readonly Delivery[];
  /** Deletes the recorded events. */
  clear(): void;
  close(): Promise<void>;
}

/** Parses the members of an event that the checker needs. */
export function readDelivery(text: string): Delivery {
  const { id, subject, sequence } = JSON.parse(text) as { id: string; subject: string; sequence: string };
  return { id, subject, version: Number(sequence) };
}

export async function startEventRecorder(): Promise<EventRecorder> {
  let deliveries: Delivery[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      deliveries.push(readDelivery(Buffer.concat(chunks).toString('utf8')));
      response.statusCode = 204;
      response.end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get deliveries() {
      return deliveries;
    },
    clear() {
      deliveries = [];
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
