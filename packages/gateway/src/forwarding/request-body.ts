import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { Failure } from '@zerda/chassis/failure';
import { CallerDisconnectedError } from '@zerda/upstream/call-outcome';
import type { BodyPacer } from '../overload/body-pacer.ts';

export interface RequestBodyOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Maximum bytes, with Content-Length as well as chunked. */
  readonly limitBytes: number;
  /** Milliseconds in which the client must send the next chunk, or the upstream must read it. */
  readonly idleTimeoutMs: number;
  readonly bodyPacer: BodyPacer;
  /** Called once when a body that is being streamed is too large or times out. */
  readonly onFailure: (failure: Failure) => void;
  /** Called when the upstream stops reading the body. */
  readonly onStall: () => void;
  /** Called for each chunk of a body that is being streamed, and when the upstream is ready for more. */
  readonly onProgress: () => void;
  /** Called when a body that is being streamed has been received completely. */
  readonly onReceived: () => void;
}

/**
 * The body of a request to an upstream. A small body is buffered before the call, so a slow client takes no time of the
 * upstream (nginx: proxy_request_buffering; Envoy: buffer filter). A larger body is streamed.
 */
export interface RequestBody {
  /** Whether the whole body can be sent, for the first time or again. */
  readonly repeatable: boolean;
  /** Whether the body has been received completely. */
  readonly complete: boolean;
  /** Bytes received so far. */
  readonly bytes: number;
  /**
   * Time since which the body waits for the upstream and not for the client, from `performance.now()`. Undefined while
   * it waits for the client.
   */
  readonly waitingForUpstreamSince: number | undefined;
  /**
   * Receives a small body, or the beginning of a larger one. Returns undefined when the body has arrived with the head.
   * @throws Failure when it is too large or times out, CallerDisconnectedError when the client disconnects
   */
  receive(): Promise<void> | undefined;
  /** Returns the body after `receive`: a buffer, or a stream that reads from the client on demand. */
  open(): Buffer | Readable;
  /** Fails the body because of its client. Pending `receive` calls reject, or `onFailure` is called. */
  fail(failure: Failure): void;
}

/** Maximum size in bytes of a body that is buffered before the call. */
const bufferedBytes = 64 * 1024;

/** Maximum number of buffered chunks before they are concatenated. */
const maxChunks = 64;

/** Creates the body of a request. @throws Failure when its Content-Length exceeds the limit */
export function createRequestBody(options: RequestBodyOptions): RequestBody {
  const { request, response, limitBytes, idleTimeoutMs, bodyPacer } = options;
  if (Number(request.headers['content-length'] ?? 0) > limitBytes) throw tooLarge(limitBytes);
  /** Chunks that arrived before the call starts. */
  let chunks: Buffer[] = [];
  let received = 0;
  /** A small body, complete. */
  let completeBody: Buffer | undefined;
  let stream: PassThrough | undefined;
  let waitingForUpstreamSince: number | undefined;
  /** Whether the pacer lets the client continue in this turn of the event loop. */
  let hasTurn = true;
  /** The body is complete, or has failed. */
  let ended = false;
  let settle: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;

  function markEnded(): void {
    ended = true;
    waitingForUpstreamSince ??= performance.now();
    idle.stop();
  }

  function fail(failure: Failure): void {
    if (ended) return;
    markEnded();
    if (stream === undefined) settle?.reject(failure);
    else options.onFailure(failure);
  }

  const idle = createIdleTimer(idleTimeoutMs, () => {
    if (waitingForUpstreamSince !== undefined) options.onStall();
    else fail(new Failure('request-timeout', { detail: 'The client stopped sending the request body.' }));
  });

  /** Stops reading from the client until the upstream has read the buffered chunks. */
  function pauseClient(): void {
    request.pause();
    waitingForUpstreamSince = performance.now();
  }

  function resumeClient(): void {
    if (ended) return;
    waitingForUpstreamSince = undefined;
    idle.restart();
    request.resume();
    options.onProgress();
  }

  function onChunk(chunk: Buffer): void {
    received += chunk.length;
    if (received > limitBytes) {
      fail(tooLarge(limitBytes));
      return;
    }
    if (stream !== undefined) {
      idle.restart();
      hasTurn = bodyPacer.take(chunk.length);
      if (stream.destroyed || !stream.write(chunk)) pauseClient();
      options.onProgress();
      return;
    }
    chunks.push(chunk);
    // A chunk of one byte takes as much memory as one of 200 bytes.
    if (chunks.length >= maxChunks) chunks = [Buffer.concat(chunks)];
    if (received <= bufferedBytes) {
      idle.restart();
      return;
    }
    idle.stop();
    pauseClient();
    settle?.resolve();
  }

  function onEnd(): void {
    markEnded();
    if (stream !== undefined) {
      stream.end();
      options.onReceived();
      return;
    }
    completeBody = Buffer.concat(chunks, received);
    settle?.resolve();
  }

  function startReceiving(): void {
    // RFC 9110, section 10.1.1: HTTP/1.0 clients do not support interim responses.
    if (request.httpVersionMinor > 0 && /^100-continue$/i.test(request.headers.expect ?? ''))
      response.writeContinue();
    idle.restart();
    request.on('data', onChunk);
    request.once('end', onEnd);
    // After an early response the request emits no `close`, so the response's event is used.
    response.once('close', () => {
      markEnded();
      if (request.complete) return;
      stream?.destroy();
      settle?.reject(new CallerDisconnectedError(0));
    });
  }

  return {
    get repeatable() {
      return completeBody !== undefined || stream === undefined;
    },
    get complete() {
      return completeBody !== undefined || request.readableEnded;
    },
    get bytes() {
      return received;
    },
    get waitingForUpstreamSince() {
      return waitingForUpstreamSince;
    },
    receive() {
      // The client may have disconnected while the policies ran.
      if (response.destroyed) throw new CallerDisconnectedError(0);
      if (request.complete) {
        // The body arrived with the head: no events are needed.
        completeBody = (request.read() as Buffer | null) ?? Buffer.alloc(0);
        received = completeBody.length;
        if (received > limitBytes) throw tooLarge(limitBytes);
        markEnded();
        return undefined;
      }
      return new Promise((resolve, reject) => {
        settle = { resolve, reject };
        startReceiving();
      });
    },
    open() {
      if (completeBody !== undefined) return completeBody;
      // undici destroys the stream that it reads. Destroying the request itself would also destroy the response.
      stream = new PassThrough();
      // Errors are reported by the call; without a listener they would crash the process.
      stream.on('error', () => undefined);
      stream.on('drain', () => {
        if (hasTurn) resumeClient();
        else bodyPacer.wait(resumeClient);
      });
      for (const chunk of chunks) stream.write(chunk);
      chunks = [];
      // The chunks exceed the stream's high-water mark: `drain` resumes the client when the upstream reads.
      idle.restart();
      return stream;
    },
    fail,
  };
}

function tooLarge(limitBytes: number): Failure {
  return new Failure('payload-too-large', { detail: `The maximum body size is ${limitBytes} bytes.` });
}

/** Creates a timer that fires when it is not restarted in time. */
function createIdleTimer(ms: number, onIdle: () => void) {
  let timer: NodeJS.Timeout | undefined;
  return {
    restart(): void {
      if (timer === undefined) timer = setTimeout(onIdle, ms);
      else timer.refresh();
    },
    stop(): void {
      clearTimeout(timer);
      timer = undefined;
    },
  };
}
