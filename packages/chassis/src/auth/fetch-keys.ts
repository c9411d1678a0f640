import type { JSONWebKeySet } from 'jose';
import type { LoadKeys } from './key-set.ts';

/** Milliseconds that the issuer has: requests wait for it. */
const timeoutMs = 3000;
/** Bytes of keys that are read at most. */
const mostBytes = 256 * 1024;

/** Keys at a URL (RFC 7517, section 5). A redirect is not followed: who is asked is what the configuration says. */
export function fetchKeys(url: string): LoadKeys {
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
    return JSON.parse(await textOf(response, url)) as JSONWebKeySet;
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
