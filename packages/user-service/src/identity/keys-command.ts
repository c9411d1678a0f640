import { StartupError } from '@zerda/chassis/startup-error';
import type { KeyDescription, SigningKeys } from './signing-keys.ts';

export interface KeysCommandOptions {
  /** What follows `keys`. */
  readonly words: readonly string[];
  /** Undefined for a service that issues no access tokens. */
  readonly keys: SigningKeys | undefined;
  /** Takes a line for the caller. */
  readonly print: (line: string) => void;
}

/**
 * `keys list | rotate | rotate --now`.
 * @throws StartupError with the usage, or when there is nothing to rotate
 */
export async function runKeysCommand({ words, keys, print }: KeysCommandOptions): Promise<void> {
  const command = words.join(' ');
  if (!['list', 'rotate', 'rotate --now'].includes(command)) {
    throw new StartupError(
      [
        'usage: keys list: the keys that access tokens are signed with',
        '       keys rotate: makes the next one, which signs once every verifier has it; no token is refused',
        '       keys rotate --now: makes one that signs at once, and ends all tokens of the others: for a key that was stolen',
      ].join('\n'),
      78,
    );
  }
  if (keys === undefined)
    throw new StartupError('AUTH_KEY_SECRET must be set: keys are encrypted with it', 78);
  const there =
    command === 'list' ? await keys.list() : await keys.rotate({ atOnce: command === 'rotate --now' });
  for (const key of there) print(line(key));
}

function line({ kid, state, signsFrom, endsAt }: KeyDescription): string {
  const from = `${state === 'next' ? 'signs from' : 'has signed from'} ${signsFrom.toISOString()}`;
  return [kid, state.padEnd(8), from, ...(endsAt === undefined ? [] : [`ends ${endsAt.toISOString()}`])].join(
    '  ',
  );
}
