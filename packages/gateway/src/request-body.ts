import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { Failure } from '@zerda/chassis/failure';
import { CallerGoneError } from '@zerda/chassis/http-client/call-outcome';

export interface RequestBodyOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Bytes at most, however they are framed. */
  readonly limitBytes: number;
  /** Milliseconds that the client may take to send the next piece, and the upstream to take it. */
  readonly idleTimeoutMs: number;
  /** Told once when a body that is being passed on is more than it may be, or does not come. */
  readonly onFailure: (failure: Failure) => void;
  /** Told when the upstream takes no more of it. */
  readonly onStall: () => void;
  /** Told when a piece of a body that is being passed on has come, and when it is the client's turn again. */
  readonly onProgress: () => void;
  /** Told when all of a body that is being passed on is here. */
  readonly onReceived: () => void;
}

/**
 * The body of a request on its way to an upstream. A small one is received first, as nginx (proxy_request_buffering) and the buffer
 * filter of Envoy do: a client that sends slowly costs the upstream nothing. A larger one is passed on as it comes.
 */
export interface RequestBody {
  /** Whether it can be sent now: for the first time, or again from its begin. */
  readonly repeatable: boolean;
  /** Whether all of it is here. */
  readonly complete: boolean;
  /** Bytes that have come. */
  readonly bytes: number;
  /**
   * Since when it is the upstream's turn, on the clock of `performance.now()`: all of it is here, or what is here has
   * not been taken. Undefined while it is the client's.
   */
  readonly hereSince: number | undefined;
  /**
   * Receives a small body, or the begin of a larger one. Undefined when that was here already, so that nothing has to wait.
   * @throws Failure when it is too large or does not come, CallerGoneError when the client leaves
   */
  receive(): Promise<void> | undefined;
  /** Returns the body after `receive`: all of it, or a stream that reads it from the client as it is read. */
  open(): Buffer | Readable;
  /** Gives it up for a reason of its client's; heard as any failure of it is. */
  giveUp(failure: Failure): void;
}

/** Bytes up to which a body is received before it is passed on. */
const bufferedBytes = 64 * 1024;

/** Pieces of it that are kept apart. */
const mostPieces = 64;

/** @throws Failure when the request says itself that its body is larger than it may be */
export function createRequestBody(options: RequestBodyOptions): RequestBody {
  const { request, response, limitBytes, idleTimeoutMs } = options;
  if (Number(request.headers['content-length'] ?? 0) > limitBytes) throw tooLarge(limitBytes);
  /** What has come before it is known whether there is more than is buffered. */
  let begun: Buffer[] = [];
  let received = 0;
  /** All of a small body. */
  let whole: Buffer | undefined;
  let stream: PassThrough | undefined;
  let hereSince: number | undefined;
  /** All of it is here, or nothing more will come. */
  let ended = false;
  let settle: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;

  function end(): void {
    ended = true;
    hereSince ??= performance.now();
    idle.stop();
  }

  function giveUp(failure: Failure): void {
    if (ended) return;
    end();
    if (stream === undefined) settle?.reject(failure);
    else options.onFailure(failure);
  }

  const idle = createIdleTimer(idleTimeoutMs, () => {
    if (hereSince !== undefined) options.onStall();
    else giveUp(new Failure('request-timeout', { detail: 'The body of the request stopped coming.' }));
  });

  /** It is the upstream's turn. */
  function pause(): void {
    request.pause();
    hereSince = performance.now();
  }

  function proceed(): void {
    hereSince = undefined;
    idle.restart();
    request.resume();
    options.onProgress();
  }

  function take(chunk: Buffer): void {
    received += chunk.length;
    if (received > limitBytes) {
      giveUp(tooLarge(limitBytes));
      return;
    }
    if (stream !== undefined) {
      idle.restart();
      if (stream.destroyed || !stream.write(chunk)) pause();
      options.onProgress();
      return;
    }
    begun.push(chunk);
    // A piece of one byte takes as much memory as two hundred.
    if (begun.length >= mostPieces) begun = [Buffer.concat(begun)];
    if (received <= bufferedBytes) {
      idle.restart();
      return;
    }
    idle.stop();
    pause();
    settle?.resolve();
  }

  function finish(): void {
    end();
    if (stream !== undefined) {
      stream.end();
      options.onReceived();
      return;
    }
    whole = Buffer.concat(begun, received);
    settle?.resolve();
  }

  function listen(): void {
    // RFC 9110, section 10.1.1: a client of HTTP/1.0 does not know of interim answers.
    if (request.httpVersionMinor > 0 && /^100-continue$/i.test(request.headers.expect ?? ''))
      response.writeContinue();
    idle.restart();
    request.on('data', take);
    request.once('end', finish);
    // The request itself does not close any more once it has been answered before its end.
    response.once('close', () => {
      end();
      if (request.complete) return;
      stream?.destroy();
      settle?.reject(new CallerGoneError(0));
    });
  }

  return {
    get repeatable() {
      return whole !== undefined || stream === undefined;
    },
    get complete() {
      return whole !== undefined || request.readableEnded;
    },
    get bytes() {
      return received;
    },
    get hereSince() {
      return hereSince;
    },
    receive() {
      // It may have left while something else was waited for.
      if (response.destroyed) throw new CallerGoneError(0);
      if (request.complete) {
        // It came with the head, and needs no events.
        whole = (request.read() as Buffer | null) ?? Buffer.alloc(0);
        received = whole.length;
        if (received > limitBytes) throw tooLarge(limitBytes);
        end();
        return undefined;
      }
      return new Promise((resolve, reject) => {
        settle = { resolve, reject };
        listen();
      });
    },
    open() {
      if (whole !== undefined) return whole;
      // A stream of its own: undici destroys what it reads, and a destroyed request would take the answer with it.
      stream = new PassThrough();
      // Its errors reach the caller through the call; without a listener they would end the process.
      stream.on('error', () => undefined);
      stream.on('drain', () => {
        if (!ended) proceed();
      });
      for (const chunk of begun) stream.write(chunk);
      begun = [];
      // More is buffered than the stream takes at once: the client goes on when the upstream has begun to read.
      idle.restart();
      return stream;
    },
    giveUp,
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
