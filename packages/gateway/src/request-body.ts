import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { Failure } from '@zerda/chassis/failure';

export interface RequestBodyOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Bytes at most, however they are framed. */
  readonly limitBytes: number;
  /** Milliseconds that the client may take to send the next piece, and the upstream to take it. */
  readonly idleTimeoutMs: number;
  /** Keeps the first bytes, so that the body can be sent a second time as long as there are no more. */
  readonly keep: boolean;
  /** Told once when the body is more than it may be, or does not come. */
  readonly onFailure: (failure: Failure) => void;
  /** Told when the upstream takes no more of it. */
  readonly onStall: () => void;
}

/** The body of a request on its way through, which may be sent more than once. */
export interface RequestBody {
  /** Whether it can be sent now: for the first time, or again from its begin. */
  readonly repeatable: boolean;
  /**
   * Since when it is the upstream's turn, on the clock of `performance.now()`: all of it is here, or what is here has
   * not been taken. Undefined while it is the client's.
   */
  readonly hereSince: number | undefined;
  /**
   * A stream of the whole body, read from the client as it is read; the stream before it gets no more.
   * @throws Failure when the body has failed
   */
  open(): Readable;
}

/** Bytes that are kept at most. */
const keptBytes = 64 * 1024;

/** @throws Failure when the request says itself that its body is larger than it may be */
export function createRequestBody(options: RequestBodyOptions): RequestBody {
  const { request, response, limitBytes, idleTimeoutMs } = options;
  if (Number(request.headers['content-length'] ?? 0) > limitBytes) throw tooLarge(limitBytes);
  let kept: Buffer[] | undefined = options.keep ? [] : undefined;
  let received = 0;
  let target: PassThrough | undefined;
  let hereSince: number | undefined;
  /** All of it is here, or nothing more will come. */
  let ended = false;
  let failure: Failure | undefined;

  function end(): void {
    ended = true;
    hereSince ??= performance.now();
    idle.stop();
  }

  function fail(reason: Failure): void {
    if (ended) return;
    failure = reason;
    end();
    options.onFailure(reason);
  }

  const idle = createIdleTimer(idleTimeoutMs, () => {
    if (hereSince !== undefined) options.onStall();
    else fail(new Failure('request-timeout', { detail: 'The body of the request stopped coming.' }));
  });

  function proceed(): void {
    hereSince = undefined;
    idle.restart();
    request.resume();
  }

  function take(chunk: Buffer): void {
    received += chunk.length;
    if (received > limitBytes) {
      fail(tooLarge(limitBytes));
      return;
    }
    if (received > keptBytes) kept = undefined;
    kept?.push(chunk);
    idle.restart();
    if (target === undefined || target.destroyed || !target.write(chunk)) {
      request.pause();
      hereSince = performance.now();
    }
  }

  function begin(): void {
    // RFC 9110, section 10.1.1: a client of HTTP/1.0 does not know of interim answers.
    if (request.httpVersionMinor > 0 && /^100-continue$/i.test(request.headers.expect ?? ''))
      response.writeContinue();
    idle.restart();
    request.on('data', take);
    request.once('end', () => {
      end();
      target?.end();
    });
    // The request itself does not close any more once it has been answered before its end.
    response.once('close', () => {
      end();
      if (!request.complete) target?.destroy();
    });
  }

  return {
    get repeatable() {
      return target === undefined || kept !== undefined;
    },
    get hereSince() {
      return hereSince;
    },
    open() {
      if (failure !== undefined) throw failure;
      const first = target === undefined;
      // A stream of its own: undici destroys what it reads, and a destroyed request would take the answer with it.
      const stream = new PassThrough();
      // Its errors reach the caller through the call; without a listener they would end the process.
      stream.on('error', () => undefined);
      stream.on('drain', () => {
        if (stream === target && !ended) proceed();
      });
      target?.destroy();
      target = stream;
      for (const chunk of kept ?? []) stream.write(chunk);
      if (first) begin();
      else if (request.complete && request.readableEnded) stream.end();
      else proceed();
      return stream;
    },
  };
}

function tooLarge(limitBytes: number): Failure {
  return new Failure('payload-too-large', { detail: `Bodies of up to ${limitBytes} bytes are taken here.` });
}

/** Fires when it is not started anew in time. */
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
