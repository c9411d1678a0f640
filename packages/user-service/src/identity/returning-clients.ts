import { LRUCache } from 'lru-cache';
import type { PasswordTurn } from './password-queue.ts';

/** Recognizes clients that were rejected and retry after the requested wait. */
export interface ReturningClients {
  /**
   * Records a rejection. The first rejection counts, so a client that retries too early gains nothing.
   * @param turn the turn of a known login that was rejected; undefined for any other rejection
   */
  recordRejection(key: string, turn?: PasswordTurn): void;
  /** Returns whether the wait since the rejection of the client is over. */
  hasReturned(key: string): boolean;
  /** Returns the last turn of a known login that was rejected for the client; undefined if there is none. */
  rejectedTurn(key: string): PasswordTurn | undefined;
  /** Removes the record of a client that was served. */
  forget(key: string): void;
}

export interface ReturningClientsOptions {
  /** Milliseconds that a rejected client has to wait; 1,000 by default. */
  readonly waitMs?: number;
  /** Milliseconds after which a rejection expires; 60,000 by default. */
  readonly retentionMs?: number;
}

interface Rejection {
  readonly at: number;
  turn: PasswordTurn | undefined;
}

/** Maximum number of recorded rejections; the least recently used one is evicted first. */
const maxRejections = 20_000;

/**
 * Distinguishes clients that retry from clients that use a new address for each request, like greylisting for mail (RFC 6647).
 * Distributed floods rarely retry from the same address.
 */
export function createReturningClients({
  waitMs = 1000,
  retentionMs = 60_000,
}: ReturningClientsOptions = {}): ReturningClients {
  const rejections = new LRUCache<string, Rejection>({ max: maxRejections, ttl: retentionMs });
  return {
    recordRejection(key, turn) {
      const rejection = rejections.get(key);
      if (rejection === undefined) rejections.set(key, { at: performance.now(), turn });
      else if (turn !== undefined) rejection.turn = turn;
    },
    hasReturned(key) {
      const rejection = rejections.get(key);
      return rejection !== undefined && performance.now() - rejection.at >= waitMs;
    },
    rejectedTurn: (key) => rejections.get(key)?.turn,
    forget: (key) => void rejections.delete(key),
  };
}
