import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { createEventMetrics, type EventMetrics } from './event-metrics.ts';
import { createPolicyMetrics, type PolicyMetrics } from './policy-metrics.ts';

export interface MetricsOptions {
  /** Name of the service, the `service` label of `build_info`. */
  readonly service: string;
  /** Version of the service, likewise. */
  readonly version: string;
}

/** What a finished request is counted under. */
export interface RequestLabels {
  readonly method: string;
  /** Pattern of the route, never the path: paths are without number. */
  readonly route: string;
  readonly status: number;
}

/** Numbers of a connection pool. */
export interface PoolNumbers {
  /** Connections there are. */
  readonly size: number;
  /** Connections nobody uses. */
  readonly idle: number;
  /** Callers who wait for one. */
  readonly waiting: number;
}

/** State of a circuit as a number: 0 closed, 1 half-open, 2 open. */
export type CircuitStateNumber = 0 | 1 | 2;

/** The numbers a service shows to Prometheus, named and measured as OpenTelemetry's conventions have them. */
export interface Metrics {
  /** Counts a request in. */
  requestStarted(): void;
  /** Counts it out, and measures the seconds from its head to the end of its answer. */
  requestEnded(labels: RequestLabels, seconds: number): void;
  /** Counts one event of a circuit breaker. */
  circuitEvent(circuit: string, event: string): void;
  /** Shows the state of a circuit. */
  circuitState(circuit: string, state: CircuitStateNumber): void;
  /** Measures one call to an upstream. */
  upstreamCall(upstream: string, outcome: string, seconds: number): void;
  /** Counts a call to an upstream that is made again. */
  upstreamRetried(upstream: string): void;
  /** Shows the calls to an upstream that have not ended; `read` is asked at each scrape. */
  upstreamInFlight(upstream: string, read: () => number): void;
  /** Shows a pool; `read` is asked at each scrape. */
  pool(name: string, read: () => PoolNumbers): void;
  /** Numbers of events. */
  readonly events: EventMetrics;
  /** Numbers of a gateway's policies. */
  readonly policies: PolicyMetrics;
  /** Where a service registers the numbers that only it has. */
  readonly registry: Registry;
  /** The text that Prometheus scrapes. */
  render(): Promise<{ contentType: string; body: string }>;
}

const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Metrics on a registry of their own: two copies of the library never share the default one. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  const registers = [registry];
  // Event loop lag, memory, handles and garbage collection of the process.
  collectDefaultMetrics({ register: registry });

  new Gauge({
    name: 'build_info',
    help: 'Always 1; the labels tell what runs.',
    labelNames: ['service', 'version', 'node'],
    registers,
  }).set({ service: options.service, version: options.version, node: process.version }, 1);
  const duration = new Histogram({
    name: 'http_server_request_duration_seconds',
    help: 'Seconds from the head of a request to the end of its answer, by method, route pattern and status.',
    labelNames: ['http_request_method', 'http_route', 'http_response_status_code'],
    buckets: latencyBuckets,
    registers,
  });
  let requests = 0;
  new Gauge({
    name: 'http_server_active_requests',
    help: 'Requests in hand.',
    registers,
    collect() {
      this.set(requests);
    },
  });
  const upstream = new Histogram({
    name: 'http_client_request_duration_seconds',
    help: 'Seconds a call to an upstream took, by upstream and outcome.',
    labelNames: ['upstream', 'outcome'],
    buckets: latencyBuckets,
    registers,
  });
  const retries = new Counter({
    name: 'http_client_retries_total',
    help: 'Calls to an upstream that were made again.',
    labelNames: ['upstream'],
    registers,
  });
  const inFlight = new Map<string, () => number>();
  new Gauge({
    name: 'http_client_active_requests',
    help: 'Calls to an upstream whose answer has not ended.',
    labelNames: ['upstream'],
    registers,
    collect() {
      for (const [name, read] of inFlight) this.set({ upstream: name }, read());
    },
  });
  const circuitEvents = new Counter({
    name: 'circuit_breaker_events_total',
    help: 'What circuit breakers saw and decided: success, failure, reject, ignored, open, halfOpen, close.',
    labelNames: ['circuit', 'event'],
    registers,
  });
  const circuitState = new Gauge({
    name: 'circuit_breaker_state',
    help: 'State of a circuit breaker: 0 closed, 1 half-open, 2 open.',
    labelNames: ['circuit'],
    registers,
  });
  const pools = new Map<string, () => PoolNumbers>();
  new Gauge({
    name: 'pool_connections',
    help: 'Connections of a pool that are used or idle, and callers who wait for one.',
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

  return {
    requestStarted() {
      requests += 1;
    },
    requestEnded({ method, route, status }, seconds) {
      requests -= 1;
      duration.observe(
        { http_request_method: method, http_route: route, http_response_status_code: status },
        seconds,
      );
    },
    circuitEvent(circuit, event) {
      circuitEvents.inc({ circuit, event });
    },
    circuitState(circuit, state) {
      circuitState.set({ circuit }, state);
    },
    upstreamCall(name, outcome, seconds) {
      upstream.observe({ upstream: name, outcome }, seconds);
    },
    upstreamRetried(name) {
      retries.inc({ upstream: name });
    },
    upstreamInFlight(name, read) {
      inFlight.set(name, read);
    },
    pool(name, read) {
      pools.set(name, read);
    },
    events: createEventMetrics(registry),
    policies: createPolicyMetrics(registry),
    registry,
    async render() {
      return { contentType: registry.contentType, body: await registry.metrics() };
    },
  };
}
