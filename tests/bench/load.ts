import { connect } from 'node:net';
import { createAnswerReader } from './answer-reader.ts';
import { percentile } from './statistics.ts';

export interface LoadPlan {
  readonly port: number;
  readonly path: string;
  /** Length that every answer's body must have. */
  readonly bytes: number;
  /** Connections, each with one request at a time. */
  readonly connections: number;
  /** Milliseconds in which new requests are sent; those on their way then are waited for. */
  readonly milliseconds: number;
  /** Headers beside the usual ones; none by default. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface LoadResult {
  readonly sent: number;
  /** Whole answers with the right status and length. */
  readonly answered: number;
  /** From the first request to the last answer. */
  readonly milliseconds: number;
  /** Milliseconds from sending a request to the last byte of its answer; undefined without any answer. */
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  /** What went wrong, with how often. A connection on which something did is given up. */
  readonly errors: Readonly<Record<string, number>>;
}

/** Milliseconds without a byte after which an answer is not waited for any longer. */
const patienceMs = 10_000;

/** Sends GET requests over kept-alive connections to a port of the loopback, as fast as they are answered. */
export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const more = Object.entries(plan.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
  const request = Buffer.from(
    `GET ${plan.path} HTTP/1.1\r\nHost: 127.0.0.1:${plan.port}\r\nAccept: application/json\r\nUser-Agent: bench\r\n${more.join('')}\r\n`,
  );
  const latencies: number[] = [];
  const errors: Record<string, number> = {};
  const startedAt = performance.now();
  const stopAt = startedAt + plan.milliseconds;
  let sent = 0;
  let lastAnswerAt = startedAt;

  function runConnection(): Promise<void> {
    const socket = connect({ host: '127.0.0.1', port: plan.port, noDelay: true });
    const isWhole = createAnswerReader(plan.bytes);
    let sentAt = 0;
    let finished = false;

    function send(): void {
      sent += 1;
      sentAt = performance.now();
      socket.write(request);
    }
    function fail(reason: string): void {
      if (!finished) errors[reason] = (errors[reason] ?? 0) + 1;
      finished = true;
      socket.destroy();
    }
    socket.setTimeout(patienceMs, () => fail(`no answer within ${patienceMs} ms`));
    socket.on('connect', send);
    socket.on('data', (chunk) => {
      try {
        if (!isWhole(chunk)) return;
      } catch (error) {
        fail((error as Error).message);
        return;
      }
      lastAnswerAt = performance.now();
      latencies.push(lastAnswerAt - sentAt);
      if (lastAnswerAt < stopAt) send();
      else {
        finished = true;
        socket.end();
      }
    });
    socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
    return new Promise((resolve) => {
      socket.on('close', () => {
        fail('connection closed');
        resolve();
      });
    });
  }

  await Promise.all(Array.from({ length: plan.connections }, runConnection));
  latencies.sort((a, b) => a - b);
  return {
    sent,
    answered: latencies.length,
    milliseconds: lastAnswerAt - startedAt,
    p50Ms: percentile(latencies, 50),
    p99Ms: percentile(latencies, 99),
    errors,
  };
}
