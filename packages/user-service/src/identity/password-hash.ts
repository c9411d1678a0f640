import { hash, verify } from '@node-rs/argon2';

/** OWASP's first choice of argon2id: KiB of memory, passes, lanes. */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const prefix = `$argon2id$v=19$m=${parameters.memoryCost},t=${parameters.timeCost},p=${parameters.parallelism}$`;

/** What is kept of a password, in the PHC string format. */
export function hashPassword(password: string): Promise<string> {
  return hash(password, parameters);
}

let decoy: Promise<string> | undefined;

/** Whether it is the password. Without a hash the answer is no, after the same time. */
export async function isPassword(password: string, passwordHash: string | undefined): Promise<boolean> {
  decoy ??= hashPassword('a password that nobody has');
  const right = await verify(passwordHash ?? (await decoy), password);
  return passwordHash !== undefined && right;
}

/** Whether the hash was made with other parameters than those of today. */
export function isOutdated(passwordHash: string): boolean {
  return !passwordHash.startsWith(prefix);
}
