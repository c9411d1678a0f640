import type { Upstream } from '@zerda/upstream/upstream';
import type { HeaderFilter } from '../headers/passed-headers.ts';

/** A forwarded path with all its limits. */
export interface RouteLimits {
  /** Path pattern with placeholders; the `route` label of metrics. */
  readonly path: string;
  /** Methods, as listed in `Allow`. */
  readonly methods: readonly string[];
  /** Milliseconds from the end of the request to the response head. */
  readonly timeoutMs: number;
  /** Milliseconds after which a disconnect of the caller counts as a failure of the upstream. */
  readonly slowMs: number;
  /** Maximum milliseconds between two chunks of a request or response body. */
  readonly idleTimeoutMs: number;
  /** Maximum milliseconds to the end of the response; undefined for no limit. */
  readonly totalTimeoutMs: number | undefined;
  /** Whether the upstream gets the caller's `Host` header instead of its own. */
  readonly keepHost: boolean;
  /** Maximum size of a request body in bytes. */
  readonly bodyLimitBytes: number;
  /** Whether paths with encoded slashes are forwarded; the slashes are part of a segment. */
  readonly encodedSlashes: boolean;
  /** Maximum number of retries of a failed call. */
  readonly retries: number;
}

/** A forwarded path with its upstream. */
export interface ForwardedRoute extends RouteLimits {
  readonly upstream: Upstream;
  /** Filter of the upstream's response headers. It removes those that the gateway sets. */
  readonly passesResponse: HeaderFilter;
}
