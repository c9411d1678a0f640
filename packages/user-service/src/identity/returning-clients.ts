import { LRUCache } from 'lru-cache';

/** Clients that were refused and have come back after the time they were asked to wait. */
export interface ReturningClients {
  /** Remembers a refusal. A client that does not wait gains nothing: the first refusal counts. */
  refused(key: string): void;
  /** Whether the client was refused long enough ago. */
  hasReturned(key: string): boolean;
  /** Forgets the client once it was served. */
  forget(key: string): void;
}

export interface ReturningClientsOptions {
  /** Milliseconds that a refused client is asked to wait; 1,000 by default. */
  readonly waitMs?: number;
  /** Milliseconds after which a refusal is forgotten; 60,000 by default. */
  readonly keptMs?: number;
}

/** Refusals that are remembered at most; the oldest one goes first. */
const maxRefusals = 20_000;

/**
 * Tells clients that retry from those that use a new address for each request, as greylisting does for mail (RFC 6647): most floods
 * from many addresses never come back from the same one.
 */
export function createReturningClients({
  waitMs = 1000,
  keptMs = 60_000,
}: ReturningClientsOptions = {}): ReturningClients {
  const refusals = new LRUCache<string, number>({ max: maxRefusals, ttl: keptMs });
  return {
    refused(key) {
      if (!refusals.has(key)) refusals.set(key, performance.now());
    },
    hasReturned(key) {
      const at = refusals.get(key);
      return at !== undefined && performance.now() - at >= waitMs;
    },
    forget: (key) => void refusals.delete(key),
  };
}
