import type { JSONWebKeySet } from 'jose';
import type { LoadKeys } from './key-set.ts';

export interface FetchKeysOptions {
  /**
   * Whether the `Age` header (RFC 9111, section 5.1) is the age of the keys, as services of this system send it; false by default,
   * since an issuer behind a cache may send an `Age` of days.
   */
  readonly aged?: boolean;
}

/** Milliseconds that the issuer has: requests wait for it. */
const timeoutMs = 3000;
/** Bytes of keys that are read at most. */
const mostBytes = 256 * 1024;

/** Keys at a URL (RFC 7517, section 5). A redirect is not followed: who is asked is what the configuration says. */
export function fetchKeys(url: string, { aged = false }: FetchKeysOptions = {}): LoadKeys {
  return async () => {
    const response = await fetch(url, {
      headers: { accept: 'application/jwk-set+json, application/json' },
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`${url} answered ${response.status}`);
    }
    const { keys } = JSON.parse(await textOf(response, url)) as JSONWebKeySet;
    const age = response.headers.get('age') ?? '';
    return aged && /^\d{1,9}$/.test(age) ? { keys, ageMs: Number(age) * 1000 } : { keys };
  };
}

async function textOf(response: Response, url: string): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    bytes += piece.byteLength;
    if (bytes > mostBytes) throw new Error(`${url} answered more than ${mostBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
