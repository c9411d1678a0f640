import type { Logger } from '../logging/logger.ts';

/** Closes one resource. */
export type Close = () => Promise<void> | void;

/** Where a service is between its start and its end. */
export interface Lifecycle {
  /** Migrated, listening and not draining; never the state of a database or an upstream. */
  readonly ready: boolean;
  /** Milliseconds from the begin of the shutdown until it must have ended, the drain included. */
  readonly shutdownMs: number;
  /** Milliseconds that requests still in hand after the drain have to end; then their connections are cut. */
  readonly requestGraceMs: number;
  /** SIGTERM has come: requests are still served, their answers close the connection. */
  readonly draining: boolean;
  /** Says that everything is open. */
  markReady(): void;
  /** Registers how a resource is closed; call it where the resource is opened. */
  onShutdown(name: string, close: Close): void;
  /** Drains, then closes every resource in the reverse order of their registration, one at a time. Once only. */
  shutdown(): Promise<void>;
}

export interface LifecycleOptions {
  readonly logger: Logger;
  /** Milliseconds to go on serving after shutdown began, until load balancers have noticed; 0 by default. */
  readonly drainMs?: number;
  /** Milliseconds that closing everything may take after the drain; 10,000 by default. */
  readonly deadlineMs?: number;
}

/** Part of the deadline that requests in hand may use; the rest is for databases and pools to close. */
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
        logger.error({ resource: name, err: error }, 'could not close');
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
