import type { Logger } from '../logging/logger.ts';

/** Closes one resource. */
export type Close = () => Promise<void> | void;

/** The state of a service process from start to shutdown. */
export interface Lifecycle {
  /** True after `markReady` until shutdown starts. Does not depend on databases or upstreams. */
  readonly ready: boolean;
  /** Maximum duration of the shutdown in milliseconds, including the drain. */
  readonly shutdownMs: number;
  /** Milliseconds after the drain that requests in flight have to finish. Then their connections are closed. */
  readonly requestGraceMs: number;
  /** True after SIGTERM. The service still accepts requests, and responses close their connection. */
  readonly draining: boolean;
  /** Marks the service as ready. */
  markReady(): void;
  /** Registers the close function of a resource. Call it where the resource is opened. */
  onShutdown(name: string, close: Close): void;
  /**
   * Drains, then closes all resources one at a time, in reverse order of registration. Further calls return the same
   * promise.
   */
  shutdown(): Promise<void>;
}

export interface LifecycleOptions {
  readonly logger: Logger;
  /** Milliseconds that the service still serves after shutdown starts, until load balancers remove it; 0 by default. */
  readonly drainMs?: number;
  /** Timeout in milliseconds to close all resources after the drain; 10,000 by default. */
  readonly deadlineMs?: number;
}

/** Share of the deadline for requests in flight. The rest is for databases and pools. */
const requestShare = 0.7;

export function createLifecycle({ logger, drainMs = 0, deadlineMs = 10_000 }: LifecycleOptions): Lifecycle {
  const resources: { name: string; close: Close }[] = [];
  let state: 'starting' | 'ready' | 'draining' = 'starting';
  let ended: Promise<void> | undefined;

  async function closeAll(): Promise<void> {
    const wasReady = state === 'ready';
    state = 'draining';
    if (wasReady && drainMs > 0) {
      logger.info({ drain_ms: drainMs }, 'draining');
      await new Promise((resolve) => setTimeout(resolve, drainMs));
    }
    const failed: unknown[] = [];
    for (const { name, close } of resources.reverse()) {
      const startedAt = performance.now();
      try {
        await close();
        logger.debug({ resource: name, ms: Math.round(performance.now() - startedAt) }, 'closed');
      } catch (error) {
        failed.push(error);
        logger.error({ resource: name, err: error }, 'resource close failed');
      }
    }
    if (failed.length > 0) throw new AggregateError(failed, `${failed.length} resources could not be closed`);
  }

  return {
    shutdownMs: drainMs + deadlineMs,
    requestGraceMs: deadlineMs * requestShare,
    get ready() {
      return state === 'ready';
    },
    get draining() {
      return state === 'draining';
    },
    markReady() {
      if (state === 'starting') state = 'ready';
    },
    onShutdown(name, close) {
      resources.push({ name, close });
    },
    shutdown() {
      ended ??= closeAll();
      return ended;
    },
  };
}
