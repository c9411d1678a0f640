import { hash } from 'node:crypto';
import type { Caller } from '@zerda/chassis/auth/caller';

/**
 * Identifies the caller whose response is cached; undefined for an anonymous caller. It is a digest of the whole `Authorization`
 * header, since the service gets the token and may decide by any of its claims. Two tokens of one user share nothing.
 */
export function ownerOf(caller: Caller | undefined, authorization: string | undefined): string | undefined {
  return caller === undefined || authorization === undefined
    ? undefined
    : hash('sha256', authorization, 'base64');
}
