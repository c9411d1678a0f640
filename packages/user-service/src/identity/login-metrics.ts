import { Counter, Gauge, type Registry } from 'prom-client';
import type { PasswordQueue } from './password-queue.ts';
import { type LoginOutcome, loginOutcomes } from './passwords.ts';

/** Registers the metrics of password checks and returns the function that counts a check by its outcome. */
export function registerLoginMetrics(
  registry: Registry,
  queue: Pick<PasswordQueue, 'load' | 'capacity'>,
): (outcome: LoginOutcome) => void {
  const registers = [registry];
  const logins = new Counter({
    name: 'logins_total',
    help: 'Password checks by outcome: succeeded, failed, throttled, overloaded.',
    labelNames: ['outcome'],
    registers,
  });
  // Initialized with zero, so that `rate()` includes the first check.
  for (const outcome of loginOutcomes) logins.inc({ outcome }, 0);
  new Gauge({
    name: 'password_work',
    help: 'Password hashes by state: running, waiting.',
    labelNames: ['state'],
    registers,
    collect() {
      this.set({ state: 'running' }, queue.load.running);
      this.set({ state: 'waiting' }, queue.load.waiting);
    },
  });
  new Gauge({
    name: 'password_queue_capacity',
    help: 'Maximum number of waiting password hashes (PASSWORD_QUEUE).',
    registers,
    collect() {
      this.set(queue.capacity);
    },
  });
  return (outcome) => logins.inc({ outcome });
}
