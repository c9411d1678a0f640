import type { Upstream } from '@zerda/chassis/http-client/upstream';
import type { HeaderFilter } from '../passed-headers.ts';

/** A path that is forwarded, with every limit decided. */
export interface RouteLimits {
  /** Pattern with placeholders, as metrics name it. */
  readonly path: string;
  /** Methods as `Allow` lists them. */
  readonly methods: readonly string[];
  /** Milliseconds from the end of a request to the head of its answer. */
  readonly timeoutMs: number;
  /** Milliseconds after which a caller who gives up counts as a failure of the upstream. */
  readonly slowMs: number;
  /** Milliseconds between two pieces of a body, of either side. */
  readonly idleTimeoutMs: number;
  /** Milliseconds until the end of the answer; undefined without a limit. */
  readonly totalTimeoutMs: number | undefined;
  /** Whether the upstream gets the caller's `Host` instead of its own. */
  readonly keepHost: boolean;
  /** Bytes of a request body at most. */
  readonly bodyLimitBytes: number;
  /** Whether paths with encoded slashes are forwarded, as data within a segment. */
  readonly encodedSlashes: boolean;
  /** How often a failed call is made again at most. */
  readonly retries: number;
}

/** A path that is forwarded, and where to. */
export interface ForwardedRoute extends RouteLimits {
  readonly upstream: Upstream;
  /** Which headers of its answers go back: not those that the gateway writes itself. */
  readonly passesAnswer: HeaderFilter;
}
