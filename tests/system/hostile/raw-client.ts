import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

/** What is sent: text as Latin-1, milliseconds to wait, the end of sending, bytes one by one, or text again and again. */
export type Step =
  | string
  | number
  | 'FIN'
  | { readonly bytes: string }
  | { readonly every: number; readonly send: string };

export interface RawAnswer {
  /** Statuses of the answers, interim ones left out. */
  readonly statuses: readonly number[];
  /** All that came back. */
  readonly text: string;
  /** The other side has closed the connection. */
  readonly closed: boolean;
}

export interface RawOptions {
  readonly port: number;
  readonly steps: readonly Step[];
  /** Answers to wait for; fewer when the connection closes before. */
  readonly answers: number;
  /** Milliseconds to wait for them. */
  readonly patienceMs: number;
}

/** Milliseconds in which one answer more than there should be would come. */
const afterwardsMs = 40;

/** Speaks to a port without knowing HTTP. */
export async function speak({ port, steps, answers, patienceMs }: RawOptions): Promise<RawAnswer> {
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
  // The gateway may close while there is more to send.
  socket.on('error', end);
  const giveUpAt = performance.now() + patienceMs;
  const isOver = (): boolean => closed || statusesIn(text).length >= answers || performance.now() > giveUpAt;

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
      while (!isOver()) {
        socket.write(step.send, 'latin1');
        await wait(step.every);
      }
    }
  }
  while (!isOver()) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, giveUpAt - performance.now()));
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
  if (!closed) await wait(afterwardsMs);
  socket.destroy();
  return { statuses: statusesIn(text), text, closed };
}

/** Bodies of the answers here have no line that looks like one of these. */
function statusesIn(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 ([2-5]\d\d) /g)].map(([, status]) => Number(status));
}
