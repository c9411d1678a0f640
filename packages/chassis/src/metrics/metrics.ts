import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { Span } from '../tracing/span.ts';
import { createDurationHistogram } from './duration-histogram.ts';
import { knownMethod, otherMethod } from './known-method.ts';
import { type MetricsFormat, renderMetrics } from './metrics-format.ts';
import { registerRuntimeMetrics } from './runtime-metrics.ts';

export interface MetricsOptions {
  /** Name of the service: the `service` label of `build_info`. */
  readonly service: string;
  /** Version of the service: the `version` label of `build_info`. */
  readonly version: string;
}

/** Labels of a finished request. */
export interface RequestLabels {
  readonly method: string;
  /** Pattern of the route, not the path: the number of paths is unbounded. */
  readonly route: string;
  readonly status: number;
}

/** State of a connection pool. */
export interface PoolNumbers {
  /** Open connections. */
  readonly size: number;
  /** Idle connections. */
  readonly idle: number;
  /** Callers waiting for a connection. */
  readonly waiting: number;
  /** Maximum number of open connections. */
  readonly max: number;
}

/** Known addresses of an upstream. */
export interface AddressNumbers {
  /** Addresses that receive calls. */
  readonly available: number;
  /** Addresses that receive only probes, because a connection to them failed. */
  readonly ejected: number;
}

/** How a database operation ended: `unavailable` if the server could not be reached, `failed` if a statement failed. */
export type DatabaseOutcome = 'succeeded' | 'failed' | 'unavailable';

/** State of a circuit: 0 closed, 1 half-open, 2 open. */
export type CircuitStateNumber = 0 | 1 | 2;

/**
 * Prometheus metrics of a service. HTTP metrics follow the OpenTelemetry semantic conventions. The recorded `span` of a duration becomes
 * the exemplar of its bucket.
 */
export interface Metrics {
  /** Counts a request as active. */
  requestStarted(): void;
  /** Ends an active request and records its duration, from the request head to the end of the response. */
  requestEnded(labels: RequestLabels, seconds: number, span?: Span): void;
  /** Counts one event of a circuit breaker. */
  circuitEvent(circuit: string, event: string): void;
  /** Sets the state of a circuit. */
  circuitState(circuit: string, state: CircuitStateNumber): void;
  /** Records the duration of one call to an upstream. */
  upstreamCall(upstream: string, outcome: string, seconds: number, span?: Span): void;
  /** Counts a retry of a call to an upstream. */
  upstreamRetried(upstream: string): void;
  /** Exports the calls in flight to an upstream; `read` is called at each scrape. */
  upstreamInFlight(upstream: string, read: () => number): void;
  /** Exports the known addresses of an upstream; `read` is called at each scrape. */
  upstreamAddresses(upstream: string, read: () => AddressNumbers): void;
  /** Records the duration of a query or transaction, including the wait for a connection and retries. */
  databaseOperation(
    operation: 'query' | 'transaction',
    outcome: DatabaseOutcome,
    seconds: number,
    span?: Span,
  ): void;
  /** Exports the state of a connection pool; `read` is called at each scrape. */
  pool(name: string, read: () => PoolNumbers): void;
  /** Registry for metrics of a single service. */
  readonly registry: Registry;
  /** Returns the metrics in a format, by default the Prometheus text format. */
  render(format?: MetricsFormat): Promise<{ contentType: string; body: string }>;
}

/** Upper limits of the duration histograms in seconds. */
export const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

const circuitEventNames = ['success', 'failure', 'reject', 'ignored', 'open', 'halfOpen', 'close'];

/** Creates metrics with a separate registry, so that two instances in one process do not conflict. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  const registers = [registry];
  // Event loop lag, memory, handles and garbage collection.
  collectDefaultMetrics({ register: registry });
  registerRuntimeMetrics(registry);

  new Gauge({
    name: 'build_info',
    help: 'Always 1; the labels are the service, its version and the Node.js version.',
    labelNames: ['service', 'version', 'node'],
    registers,
  }).set({ service: options.service, version: options.version, node: process.version }, 1);
  const duration = createDurationHistogram({
    name: 'http_server_request_duration_seconds',
    help: 'Seconds from the request head to the end of the response, by method, route pattern and status.',
    labelNames: ['http_request_method', 'http_route', 'http_response_status_code'],
    buckets: latencyBuckets,
    registry,
  });
  let requests = 0;
  new Gauge({
    name: 'http_server_active_requests',
    help: 'Requests in flight.',
    registers,
    collect() {
      this.set(requests);
    },
  });
  const upstream = createDurationHistogram({
    name: 'http_client_request_duration_seconds',
    help: 'Duration of calls to an upstream in seconds, by upstream and outcome.',
    labelNames: ['upstream', 'outcome'],
    buckets: latencyBuckets,
    registry,
  });
  const retries = new Counter({
    name: 'http_client_retries_total',
    help: 'Retries of calls to an upstream.',
    labelNames: ['upstream'],
    registers,
  });
  const inFlight = new Map<string, () => number>();
  new Gauge({
    name: 'http_client_active_requests',
    help: 'Calls to an upstream in flight.',
    labelNames: ['upstream'],
    registers,
    collect() {
      for (const [name, read] of inFlight) this.set({ upstream: name }, read());
    },
  });
  const addresses = new Map<string, () => AddressNumbers>();
  new Gauge({
    name: 'upstream_addresses',
    help: 'Known addresses of an upstream by state: available, ejected (a connection failed, so it gets only probes). Both are 0 before its name is resolved.',
    labelNames: ['upstream', 'state'],
    registers,
    collect() {
      for (const [name, read] of addresses) {
        const { available, ejected } = read();
        this.set({ upstream: name, state: 'available' }, available);
        this.set({ upstream: name, state: 'ejected' }, ejected);
      }
    },
  });
  const databaseOperations = createDurationHistogram({
    name: 'db_client_operation_duration_seconds',
    help: 'Duration of database operations in seconds, with the wait for a connection and retries, by operation (query, transaction) and outcome: succeeded, failed, unavailable.',
    labelNames: ['operation', 'outcome'],
    buckets: latencyBuckets,
    registry,
  });
  const circuitEvents = new Counter({
    name: 'circuit_breaker_events_total',
    help: `Events of circuit breakers: ${circuitEventNames.join(', ')}.`,
    labelNames: ['circuit', 'event'],
    registers,
  });
  const circuits = new Set<string>();
  const circuitState = new Gauge({
    name: 'circuit_breaker_state',
    help: 'State of a circuit breaker: 0 closed, 1 half-open, 2 open.',
    labelNames: ['circuit'],
    registers,
  });
  const pools = new Map<string, () => PoolNumbers>();
  new Gauge({
    name: 'pool_connections',
    help: 'Used and idle connections of a pool, and callers waiting for one.',
    labelNames: ['pool', 'state'],
    registers,
    collect() {
      for (const [pool, read] of pools) {
        const { size, idle, waiting } = read();
        this.set({ pool, state: 'used' }, size - idle);
        this.set({ pool, state: 'idle' }, idle);
        this.set({ pool, state: 'waiting' }, waiting);
      }
    },
  });
  new Gauge({
    name: 'pool_max_connections',
    help: 'Maximum number of connections of a pool.',
    labelNames: ['pool'],
    registers,
    collect() {
      for (const [pool, read] of pools) this.set({ pool }, read().max);
    },
  });

  return {
    requestStarted() {
      requests += 1;
    },
    requestEnded({ method, route, status }, seconds, span) {
      requests -= 1;
      duration.observe(
        {
          http_request_method: knownMethod(method) ?? otherMethod,
          http_route: route,
          http_response_status_code: status,
        },
        seconds,
        span,
      );
    },
    circuitEvent(circuit, event) {
      circuitEvents.inc({ circuit, event });
    },
    circuitState(circuit, state) {
      if (!circuits.has(circuit)) {
        circuits.add(circuit);
        // Exported as 0 from the start: otherwise `increase()` in an alert misses the first rejection.
        for (const event of circuitEventNames) circuitEvents.inc({ circuit, event }, 0);
      }
      circuitState.set({ circuit }, state);
    },
    upstreamCall(name, outcome, seconds, span) {
      upstream.observe({ upstream: name, outcome }, seconds, span);
    },
    upstreamRetried(name) {
      retries.inc({ upstream: name });
    },
    upstreamInFlight(name, read) {
      inFlight.set(name, read);
    },
    upstreamAddresses(name, read) {
      addresses.set(name, read);
    },
    databaseOperation(operation, outcome, seconds, span) {
      databaseOperations.observe({ operation, outcome }, seconds, span);
    },
    pool(name, read) {
      pools.set(name, read);
    },
    registry,
    render: (format = 'text') => renderMetrics(registry, format),
  };
}
