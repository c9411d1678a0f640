import { connect } from 'node:net';
import { createResponseReader } from './response-reader.ts';
import { percentile } from './statistics.ts';

/** A number in a request that grows with each request, so that requests differ. */
export interface RequestCounter {
  /** The text that the number replaces wherever it occurs in the request. */
  readonly text: string;
  /** First number; it has as many digits as the text has characters. */
  readonly from: number;
  /** Numbers after which it starts again; never by default. */
  readonly count?: number;
}

export interface LoadPlan {
  readonly port: number;
  /** Method of the requests; `GET` by default. */
  readonly method?: string | undefined;
  readonly path: string;
  /** JSON text of the request body; none by default. */
  readonly content?: string | undefined;
  /** Numbers in the head and the body; none by default. */
  readonly counters?: readonly RequestCounter[] | undefined;
  /** Expected status; 200 by default. */
  readonly status?: number | undefined;
  /** Expected length of every response body in bytes; undefined accepts any. */
  readonly bytes: number | undefined;
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

/** Sends requests to a loopback port over keep-alive connections. Each connection sends the next request after a response. */
export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const requestAt = createRequests(plan);
  const latencies: number[] = [];
  const errors: Record<string, number> = {};
  const startedAt = performance.now();
  const stopAt = startedAt + plan.milliseconds;
  let sent = 0;
  let lastResponseAt = startedAt;

  function runConnection(): Promise<void> {
    const socket = connect({ host: '127.0.0.1', port: plan.port, noDelay: true });
    const isComplete = createResponseReader(plan.bytes, plan.status);
    let sentAt = 0;
    let finished = false;

    function send(): void {
      sentAt = performance.now();
      socket.write(requestAt(sent));
      sent += 1;
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

/** Returns a function that returns the request with a number, counted from 0. */
function createRequests({
  port,
  method = 'GET',
  path,
  content,
  headers = {},
  counters = [],
}: LoadPlan): (index: number) => Buffer {
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Accept: application/json',
    'User-Agent: bench',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...(content === undefined
      ? []
      : ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(content)}`]),
  ];
  const request = Buffer.from(`${lines.join('\r\n')}\r\n\r\n${content ?? ''}`);
  const numbers = counters.flatMap(({ text, from, count = Number.MAX_SAFE_INTEGER }) =>
    positionsOf(request, text).map((position) => ({ position, from, count })),
  );
  if (numbers.length === 0) return () => request;
  return (index) => {
    const copy = Buffer.from(request);
    for (const { position, from, count } of numbers)
      copy.write(String(from + (index % count)), position, 'latin1');
    return copy;
  };
}

function positionsOf(request: Buffer, text: string): number[] {
  const positions: number[] = [];
  for (let at = request.indexOf(text); at !== -1; at = request.indexOf(text, at + text.length))
    positions.push(at);
  return positions;
}
