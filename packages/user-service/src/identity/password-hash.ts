import { hash, verify } from '@node-rs/argon2';

/** Parameters of argon2id that OWASP recommends: memory in KiB, iterations, parallelism. */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const prefix = `$argon2id$v=19$m=${parameters.memoryCost},t=${parameters.timeCost},p=${parameters.parallelism}$`;

/** Returns the argon2id hash of a password in the PHC string format. */
export function hashPassword(password: string): Promise<string> {
  return hash(password, parameters);
}

let dummyHash: Promise<string> | undefined;

/** Returns whether the password matches the hash. Without a hash it returns false after the same time. */
export async function isPassword(password: string, passwordHash: string | undefined): Promise<boolean> {
  dummyHash ??= hashPassword('a password of no user');
  const matches = await verify(passwordHash ?? (await dummyHash), password);
  return passwordHash !== undefined && matches;
}

/** Returns whether the hash was created with parameters other than the current ones. */
export function isOutdated(passwordHash: string): boolean {
  return !passwordHash.startsWith(prefix);
}
