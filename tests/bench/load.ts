import { connect } from 'node:net';
import { createResponseReader } from './response-reader.ts';
import { percentile } from './statistics.ts';

export interface LoadPlan {
  readonly port: number;
  readonly path: string;
  /** Expected length of every response body in bytes. */
  readonly bytes: number;
  /** Number of connections, each with one request at a time. */
  readonly connections: number;
  /** Milliseconds during which new requests are sent; requests in flight at the end are completed. */
  readonly milliseconds: number;
  /** Additional request headers. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface LoadResult {
  readonly sent: number;
  /** Complete responses with the expected status and length. */
  readonly responded: number;
  /** Milliseconds from the first request to the last response. */
  readonly milliseconds: number;
  /** Milliseconds from sending a request to the last byte of its response; undefined without responses. */
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  /** Number of errors by message. A connection ends at its first error. */
  readonly errors: Readonly<Record<string, number>>;
}

/** Milliseconds without a received byte after which a request fails. */
const idleTimeoutMs = 10_000;

/** Sends GET requests to a loopback port over keep-alive connections. Each connection sends the next request after a response. */
export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const headerLines = Object.entries(plan.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
  const request = Buffer.from(
    `GET ${plan.path} HTTP/1.1\r\nHost: 127.0.0.1:${plan.port}\r\nAccept: application/json\r\nUser-Agent: bench\r\n${headerLines.join('')}\r\n`,
  );
  const latencies: number[] = [];
  const errors: Record<string, number> = {};
  const startedAt = performance.now();
  const stopAt = startedAt + plan.milliseconds;
  let sent = 0;
  let lastResponseAt = startedAt;

  function runConnection(): Promise<void> {
    const socket = connect({ host: '127.0.0.1', port: plan.port, noDelay: true });
    const isComplete = createResponseReader(plan.bytes);
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
    socket.setTimeout(idleTimeoutMs, () => fail(`no response within ${idleTimeoutMs} ms`));
    socket.on('connect', send);
    socket.on('data', (chunk) => {
      try {
        if (!isComplete(chunk)) return;
      } catch (error) {
        fail((error as Error).message);
        return;
      }
      lastResponseAt = performance.now();
      latencies.push(lastResponseAt - sentAt);
      if (lastResponseAt < stopAt) send();
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
    responded: latencies.length,
    milliseconds: lastResponseAt - startedAt,
    p50Ms: percentile(latencies, 50),
    p99Ms: percentile(latencies, 99),
    errors,
  };
}
