import type { CallSlot } from './call-slot.ts';

export interface AttemptLimits {
  /** Timeout in milliseconds; greater than zero. */
  readonly ms: number;
  /** Whether the attempt is a probe of a half-open circuit. It should then finish even if the caller disconnects. */
  readonly probe: boolean;
  /** Whether no retry follows, whatever the response is. */
  readonly last: boolean;
  /** `traceparent` for the request: that of the attempt's span, or of the request that makes the call. */
  readonly traceparent: string | undefined;
  /** For the balancer: reports that the upstream accepts connections. Only probes of a half-open circuit need it. */
  readonly onConnected: (() => void) | undefined;
}

/** What the headers of an attempt's request depend on. */
export type AttemptHeaders = Pick<AttemptLimits, 'ms' | 'traceparent'>;

/** One attempt at a call. */
export class Attempt implements AttemptLimits {
  readonly ms: number;
  readonly probe: boolean;
  readonly last: boolean;
  readonly traceparent: string | undefined;
  readonly onConnected: (() => void) | undefined;
  /** Addresses of earlier attempts, for the balancer. */
  readonly tried: Set<string>;
  readonly #slot: CallSlot;
  #startedAt = performance.now();

  constructor(
    slot: CallSlot,
    tried: Set<string>,
    { ms, probe, last, traceparent, onConnected }: AttemptLimits,
  ) {
    this.#slot = slot;
    this.tried = tried;
    this.ms = ms;
    this.probe = probe;
    this.last = last;
    this.traceparent = traceparent;
    this.onConnected = onConnected;
  }

  /** Response time of the service so far in milliseconds. */
  get elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** Reports that the request is completely sent. The response time of the service is measured from here. */
  requestSent(): void {
    this.#startedAt = performance.now();
  }

  /** Keeps the call in flight until the returned function is called, for a body that is read later. */
  hold(): () => void {
    return this.#slot.hold();
  }

  /**
   * Reports that the call waits for its client. Another call may then take over its slot.
   * @param end ends the call
   * @returns a function to call when the wait is over
   */
  waitForClient(end: () => void): () => void {
    return this.#slot.waitForClient(end);
  }
}
