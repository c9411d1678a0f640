import type { JSONWebKeySet } from 'jose';
import type { LoadKeys } from './key-set.ts';

export interface FetchKeysOptions {
  /**
   * Whether the `Age` header (RFC 9111, section 5.1) is the age of the keys, as in the responses of zerda services. False by default:
   * an issuer behind a cache may send an `Age` of days.
   */
  readonly aged?: boolean;
}

/** Timeout in milliseconds. Requests wait for the keys, so it is short. */
const timeoutMs = 3000;
/** Maximum size of a key set in bytes. */
const maxBytes = 256 * 1024;

/** Returns a function that fetches a JWKS (RFC 7517, section 5). Redirects are errors: keys come from the configured URL only. */
export function fetchKeys(url: string, { aged = false }: FetchKeysOptions = {}): LoadKeys {
  return async () => {
    const response = await fetch(url, {
      headers: { accept: 'application/jwk-set+json, application/json' },
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`${url} returned status ${response.status}`);
    }
    const { keys } = JSON.parse(await readText(response, url)) as JSONWebKeySet;
    const age = response.headers.get('age') ?? '';
    return aged && /^\d{1,9}$/.test(age) ? { keys, ageMs: Number(age) * 1000 } : { keys };
  };
}

async function readText(response: Response, url: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw new Error(`${url} returned more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
