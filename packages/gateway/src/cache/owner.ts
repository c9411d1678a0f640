import { hash } from 'node:crypto';
import type { Caller } from '@zerda/chassis/auth/caller';

/**
 * Identifies the caller that a cached response belongs to; undefined for an anonymous caller. It is a digest of the whole
 * `Authorization` header, because the service may decide by any claim of the token. Two tokens of one user share no responses.
 */
export function ownerOf(caller: Caller | undefined, authorization: string | undefined): string | undefined {
  return caller === undefined || authorization === undefined
    ? undefined
    : hash('sha256', authorization, 'base64');
}
