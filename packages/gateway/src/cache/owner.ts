import type { Caller } from '@zerda/chassis/auth/caller';

const owners = new WeakMap<Caller, string>();

/** Whose an answer is: the caller with their role, which decides what they are shown; undefined for who is not known. */
export function ownerOf(caller: Caller | undefined): string | undefined {
  if (caller === undefined) return undefined;
  const known = owners.get(caller);
  if (known !== undefined) return known;
  const owner = JSON.stringify([caller.subject, caller.role, caller.userId ?? null]);
  owners.set(caller, owner);
  return owner;
}
