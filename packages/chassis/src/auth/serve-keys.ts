import type { RequestHandler } from 'express';
import type { KeySet } from './key-set.ts';

/**
 * Serves the keys of a verifier with their age (RFC 9111, section 5.1). Other verifiers use this copy while the issuer is unavailable.
 */
export function serveKeys(keySet: Pick<KeySet, 'copy'>): RequestHandler {
  return async (_request, response) => {
    const { keys, ageMs } = await keySet.copy();
    response.set({ age: String(Math.ceil(ageMs / 1000)), 'cache-control': 'no-store' });
    response.json({ keys });
  };
}
