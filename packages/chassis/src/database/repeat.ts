import { setTimeout as wait } from 'node:timers/promises';
import { currentContext } from '../request-context.ts';
import { isRepeatable } from './database-errors.ts';

/** How often a transaction is run before its deadlock reaches the caller. */
const attempts = 6;
/** Milliseconds that two transactions in each other's way are kept apart, at random, times the attempts so far. */
const spreadMs = 10;

/** Runs a transaction again when the database asks for it, as long as somebody waits for it. */
export async function repeatedly<T>(transaction: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await transaction();
    } catch (error) {
      if (!isRepeatable(error) || attempt === attempts || currentContext()?.deadline.expired) throw error;
      await wait(Math.random() * spreadMs * attempt);
    }
  }
}
