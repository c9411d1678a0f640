import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An event as it came to a receiver. */
export interface Delivery {
  readonly id: string;
  readonly subject: string;
  readonly version: number;
}

/** A sink of events beside the services: it takes everything, and writes down what came in which order. */
export interface Witness {
  readonly port: number;
  readonly deliveries: readonly Delivery[];
  /** Forgets what came. */
  clear(): void;
  close(): Promise<void>;
}

/** Reads what a checker has to know of an event. */
export function readDelivery(text: string): Delivery {
  const { id, subject, sequence } = JSON.parse(text) as { id: string; subject: string; sequence: string };
  return { id, subject, version: Number(sequence) };
}

export async function openWitness(): Promise<Witness> {
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
