import { Failure } from '@zerda/chassis/failure';
import { currentContext } from '@zerda/chassis/request-context';

/** Work on passwords, a little at a time: it takes processor and memory that everybody else's requests need. */
export interface PasswordWork {
  /**
   * Does work when it is its turn.
   * @throws Failure `login-overloaded` when too many wait already, `deadline-exceeded` when the caller waits no more; then nothing
   * was done
   */
  run<T>(work: () => Promise<T>): Promise<T>;
  /** How much is being done, and how much waits. */
  readonly load: { readonly running: number; readonly waiting: number };
}

export interface PasswordWorkOptions {
  /** How much is done at the same time: each takes 19 MiB, and a core for some 20 ms. */
  readonly concurrency: number;
  /** How much may wait for that; the next is refused. */
  readonly queue: number;
}

export function createPasswordWork({ concurrency, queue }: PasswordWorkOptions): PasswordWork {
  const waiting: (() => void)[] = [];
  let running = 0;

  return {
    async run(work) {
      if (running < concurrency) running += 1;
      else {
        if (waiting.length >= queue)
          throw new Failure('login-overloaded', { headers: { 'Retry-After': '1' } });
        // Whoever ends hands their place on.
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
      try {
        // Whoever has waited too long has gone, and the next one need not wait for them.
        if (currentContext()?.deadline.expired) throw new Failure('deadline-exceeded');
        return await work();
      } finally {
        const next = waiting.shift();
        if (next === undefined) running -= 1;
        else next();
      }
    },
    get load() {
      return { running, waiting: waiting.length };
    },
  };
}
