import { Counter, Gauge, type Registry } from 'prom-client';
import { type LoginOutcome, loginOutcomes } from './check-password.ts';
import type { PasswordWork } from './password-work.ts';

/** Shows how logins end and how much waits to be hashed; returns what counts a login. */
export function registerLoginMetrics(
  registry: Registry,
  passwordWork: Pick<PasswordWork, 'load'>,
): (outcome: LoginOutcome) => void {
  const registers = [registry];
  const logins = new Counter({
    name: 'logins_total',
    help: 'Passwords that somebody gave, by outcome: succeeded, failed, throttled, overloaded.',
    labelNames: ['outcome'],
    registers,
  });
  // Zero from the start, so that the first one is seen as a rise.
  for (const outcome of loginOutcomes) logins.inc({ outcome }, 0);
  new Gauge({
    name: 'password_work',
    help: 'Passwords that are being looked at or hashed, and those that wait for it.',
    labelNames: ['state'],
    registers,
    collect() {
      this.set({ state: 'running' }, passwordWork.load.running);
      this.set({ state: 'waiting' }, passwordWork.load.waiting);
    },
  });
  return (outcome) => logins.inc({ outcome });
}
