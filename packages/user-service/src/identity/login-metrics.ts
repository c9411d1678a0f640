import { Counter, Gauge, type Registry } from 'prom-client';
import type { PasswordQueue } from './password-queue.ts';
import { type LoginOutcome, loginOutcomes } from './passwords.ts';

/** Registers the metrics of password checks, and returns what counts a check by its outcome. */
export function registerLoginMetrics(
  registry: Registry,
  queue: Pick<PasswordQueue, 'load'>,
): (outcome: LoginOutcome) => void {
  const registers = [registry];
  const logins = new Counter({
    name: 'logins_total',
    help: 'Checks of a password, by outcome: succeeded, failed, throttled, overloaded.',
    labelNames: ['outcome'],
    registers,
  });
  // Zero from the start, so that the first one is seen as a rise.
  for (const outcome of loginOutcomes) logins.inc({ outcome }, 0);
  new Gauge({
    name: 'password_work',
    help: 'Passwords that are checked or hashed, and those that wait for a turn.',
    labelNames: ['state'],
    registers,
    collect() {
      this.set({ state: 'running' }, queue.load.running);
      this.set({ state: 'waiting' }, queue.load.waiting);
    },
  });
  return (outcome) => logins.inc({ outcome });
}
