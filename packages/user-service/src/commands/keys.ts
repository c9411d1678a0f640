import { openCommandDatabase } from '@zerda/chassis/database/service-database';
import { StartupError } from '@zerda/chassis/startup-error';
import type { UserServiceProcess } from '../config.ts';
import { databaseSchema } from '../database-schema.ts';
import { openIssuer } from '../identity/open-issuer.ts';
import type { KeyDescription, SigningKeys } from '../identity/signing-keys.ts';

/** Runs the `keys` command of user-service: signing keys of access tokens. */
export async function keys(service: UserServiceProcess, args: readonly string[]): Promise<void> {
  const issuer = openIssuer(service.config, await openCommandDatabase({ ...service, ...databaseSchema }));
  await runKeysCommand({ args, keys: issuer?.keys, print: console.log });
}

export interface KeysCommandOptions {
  /** Arguments after `keys`. */
  readonly args: readonly string[];
  /** Undefined if the service issues no access tokens. */
  readonly keys: SigningKeys | undefined;
  /** Prints one line of output. */
  readonly print: (line: string) => void;
}

/**
 * Runs `keys list | rotate | rotate --now`.
 * @throws StartupError with the usage, or if the service issues no access tokens
 */
export async function runKeysCommand({ args, keys, print }: KeysCommandOptions): Promise<void> {
  const command = args.join(' ');
  if (!['list', 'rotate', 'rotate --now'].includes(command)) {
    throw new StartupError(
      [
        'usage: keys list: lists the signing keys of access tokens',
        '       keys rotate: creates the next key, which signs after every verifier has fetched it; all tokens stay valid',
        '       keys rotate --now: creates a key that signs immediately and deletes the others, so their tokens become invalid; use it if a key was stolen',
      ].join('\n'),
      78,
    );
  }
  if (keys === undefined)
    throw new StartupError('AUTH_KEY_SECRET is not set. Set it to the secret that encrypts the keys.', 78);
  const descriptions =
    command === 'list' ? await keys.list() : await keys.rotate({ immediately: command === 'rotate --now' });
  for (const description of descriptions) print(formatKey(description));
}

function formatKey({ kid, state, signsFrom, endsAt }: KeyDescription): string {
  const from = `${state === 'next' ? 'signs from' : 'has signed from'} ${signsFrom.toISOString()}`;
  return [kid, state.padEnd(8), from, ...(endsAt === undefined ? [] : [`ends ${endsAt.toISOString()}`])].join(
    '  ',
  );
}
