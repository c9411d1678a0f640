import { hash, verify } from '@node-rs/argon2';
import { Failure } from '@zerda/chassis/failure';

/** Makes and checks what is kept of passwords. */
export interface PasswordHasher {
  /** @throws Failure `login-overloaded` when too many wait already, as the others do */
  requireRoom(): void;
  /** @throws Failure `login-overloaded` when too many wait already */
  hash(password: string): Promise<string>;
  /**
   * Whether it is the password. Without a hash the answer is no, after the same time.
   * @throws Failure `login-overloaded` when too many wait already
   */
  verify(passwordHash: string | undefined, password: string): Promise<boolean>;
  /** Whether the hash was made with other parameters than those of today. */
  isOutdated(passwordHash: string): boolean;
  /** Passwords that are being hashed, and those that wait. */
  readonly load: { readonly running: number; readonly waiting: number };
}

export interface PasswordHasherOptions {
  /** Passwords hashed at the same time: each takes 19 MiB, and a core for some 10 to 20 ms. */
  readonly concurrency: number;
  /** Passwords that may wait for that; the next one is refused. */
  readonly queue: number;
}

/** OWASP's first choice of argon2id: KiB of memory, passes, lanes. */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const prefix = `$argon2id$v=19$m=${parameters.memoryCost},t=${parameters.timeCost},p=${parameters.parallelism}$`;

export function createPasswordHasher({ concurrency, queue }: PasswordHasherOptions): PasswordHasher {
  const waiting: (() => void)[] = [];
  let running = 0;
  let decoy: Promise<string> | undefined;

  function requireRoom(): void {
    if (running < concurrency || waiting.length < queue) return;
    throw new Failure('login-overloaded', { headers: { 'Retry-After': '1' } });
  }

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    requireRoom();
    if (running < concurrency) running += 1;
    // Whoever ends hands their place on.
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  }

  return {
    requireRoom,
    hash: (password) => inTurn(() => hash(password, parameters)),
    verify: (passwordHash, password) =>
      inTurn(async () => {
        decoy ??= hash('a password that nobody has', parameters);
        const right = await verify(passwordHash ?? (await decoy), password);
        return passwordHash !== undefined && right;
      }),
    isOutdated: (passwordHash) => !passwordHash.startsWith(prefix),
    get load() {
      return { running, waiting: waiting.length };
    },
  };
}
