import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

/**
 * A step of a raw client: Latin-1 text to send, milliseconds to wait, `FIN` to half-close, text to send byte by byte, or text to
 * send every so many milliseconds until the client is done.
 */
export type Step =
  | string
  | number
  | 'FIN'
  | { readonly bytes: string }
  | { readonly every: number; readonly send: string };

export interface RawResponse {
  /** Statuses of the responses, without 1xx. */
  readonly statuses: readonly number[];
  /** All received bytes, as Latin-1. */
  readonly text: string;
  /** Whether the server has closed the connection. */
  readonly closed: boolean;
}

export interface RawClientOptions {
  readonly port: number;
  readonly steps: readonly Step[];
  /** Number of responses to wait for, unless the connection closes earlier. */
  readonly responses: number;
  /** Maximum milliseconds to wait for the responses. */
  readonly timeoutMs: number;
}

/** Milliseconds to wait for a response that should not arrive. */
const extraResponseMs = 40;

/** Sends raw bytes to a loopback port and resolves with the responses. */
export async function sendRaw({ port, steps, responses, timeoutMs }: RawClientOptions): Promise<RawResponse> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  let closed = false;
  let wake = (): void => undefined;
  socket.setEncoding('latin1');
  socket.setNoDelay(true);
  socket.on('data', (chunk: string) => {
    text += chunk;
    wake();
  });
  const end = (): void => {
    closed = true;
    wake();
  };
  socket.on('end', end);
  socket.on('close', end);
  // The gateway may close the connection before everything is sent.
  socket.on('error', end);
  const deadline = performance.now() + timeoutMs;
  const isDone = (): boolean =>
    closed || parseStatuses(text).length >= responses || performance.now() > deadline;

  for (const step of steps) {
    if (closed) break;
    if (typeof step === 'number') await wait(step);
    else if (step === 'FIN') socket.end();
    else if (typeof step === 'string') socket.write(step, 'latin1');
    else if ('bytes' in step) {
      for (const byte of step.bytes) {
        socket.write(byte, 'latin1');
        await wait(0);
      }
    } else {
      while (!isDone()) {
        socket.write(step.send, 'latin1');
        await wait(step.every);
      }
    }
  }
  while (!isDone()) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, deadline - performance.now()));
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
  if (!closed) await wait(extraResponseMs);
  socket.destroy();
  return { statuses: parseStatuses(text), text, closed };
}

/** Extracts the statuses of the status lines. No response body in these tests contains a status line. */
function parseStatuses(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 ([2-5]\d\d) /g)].map(([, status]) => Number(status));
}
