import { randomFillSync } from 'node:crypto';
import { traceparent as pattern } from '@zerda/contracts/events/envelope';

/** Random bytes for ids; one system call fills many. */
const pool = Buffer.allocUnsafe(4096);
let used = pool.length;

/** Returns `bytes` random bytes as hexadecimal digits. */
export function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += bytes;
  return pool.toString('hex', used - bytes, used);
}

/** Returns a `traceparent` of a new trace that is not sampled (W3C Trace Context, section 3.2). */
export function newTraceparent(): string {
  const ids = randomHex(24);
  return `00-${ids.slice(0, 32)}-${ids.slice(32)}-00`;
}

/** Returns the `traceparent` header if it is valid. */
export function validTraceparent(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && pattern.test(header) ? header : undefined;
}

/**
 * Returns the `traceparent` of work that is not recorded: that of its parent, or of a new trace. A process without tracing passes the
 * decision of the parent on.
 */
export function unrecordedTraceparent(parent: string | undefined, isTracing: boolean): string {
  if (parent === undefined) return newTraceparent();
  return isTracing ? withoutSampled(parent) : parent;
}

/** Returns the same position in the trace, marked as not sampled. */
export function withoutSampled(traceparent: string): string {
  return isSampled(traceparent) ? `${traceparent.slice(0, 53)}00` : traceparent;
}

export function traceIdOf(traceparent: string): string {
  return traceparent.slice(3, 35);
}

export function spanIdOf(traceparent: string): string {
  return traceparent.slice(36, 52);
}

/** Returns the flag `sampled`, the lowest bit of the last digit. */
export function isSampled(traceparent: string): boolean {
  return (Number.parseInt(traceparent.slice(54), 16) & 1) === 1;
}

/** Limits that every platform must support (W3C Baggage, section 3.3.2). */
const maxBaggageLength = 8192;
const maxBaggageMembers = 64;

/** Returns `baggage` with as many whole members as the limits allow; undefined if none is left. */
export function boundedBaggage(header: string | string[] | undefined): string | undefined {
  if (typeof header !== 'string') return undefined;
  let end = 0;
  for (let members = 0; members < maxBaggageMembers && end < header.length; members += 1) {
    const comma = header.indexOf(',', end === 0 ? 0 : end + 1);
    const next = comma === -1 ? header.length : comma;
    if (next > maxBaggageLength) break;
    end = next;
  }
  return header.slice(0, end) || undefined;
}

/** Platforms must propagate at least 512 characters of `tracestate` (W3C Trace Context, section 3.3.1.5). */
const maxTracestateLength = 2048;

/** Returns `tracestate` unless it is too long. */
export function boundedTracestate(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header.length <= maxTracestateLength ? header || undefined : undefined;
}
