import { count, httpUrl, milliseconds, percentage } from '@zerda/chassis/config/values';
import type { z } from 'zod';

/**
 * Returns the variables of a service that calls other services.
 * @param defaults.timeoutMs default of UPSTREAM_TIMEOUT_MS in milliseconds; 5000 if omitted
 */
export function upstreamVariables({ timeoutMs = 5000 }: { readonly timeoutMs?: number } = {}) {
  return {
    UPSTREAM_TIMEOUT_MS: milliseconds(1)
      .default(timeoutMs)
      .describe('Timeout of a call to an upstream in milliseconds, within the deadline of the request.'),
    UPSTREAM_CONNECTIONS: count(1)
      .default(128)
      .describe('Maximum number of connections to each address of an upstream.'),
    CIRCUIT_ERROR_PERCENT: percentage()
      .default(50)
      .describe('Percentage of failed calls above which a circuit opens.'),
    CIRCUIT_VOLUME: count(1)
      .default(10)
      .describe('Minimum number of calls that end within the window before a circuit can open.'),
    CIRCUIT_WINDOW_MS: milliseconds(100)
      .default(5000)
      .describe('Length of the window of a circuit in milliseconds; CIRCUIT_RESET_MS is its upper limit.'),
    CIRCUIT_RESET_MS: milliseconds(100)
      .default(5000)
      .describe(
        'Maximum time in milliseconds until an open circuit allows a probe. The first probe comes after a tenth of it, later ones after a quarter of the time since the circuit opened, or after a tenth while no connection is accepted.',
      ),
  };
}

/** Converts the values of `upstreamVariables` to options of an upstream. */
export function upstreamSettings(config: z.output<z.ZodObject<ReturnType<typeof upstreamVariables>>>) {
  return {
    timeoutMs: config.UPSTREAM_TIMEOUT_MS,
    maxConnections: config.UPSTREAM_CONNECTIONS,
    circuit: {
      errorPercent: config.CIRCUIT_ERROR_PERCENT,
      volume: config.CIRCUIT_VOLUME,
      windowMs: config.CIRCUIT_WINDOW_MS,
      resetMs: config.CIRCUIT_RESET_MS,
    },
  };
}

/**
 * Returns the variable with the base URL of an upstream.
 * @param defaultUrl default; undefined makes the variable required
 */
export function upstreamUrl(upstream: string, defaultUrl: string | undefined) {
  const url = httpUrl();
  return (defaultUrl === undefined ? url : url.default(defaultUrl)).describe(
    `Base URL of ${upstream}; in Kubernetes, the DNS name of its Service.`,
  );
}
