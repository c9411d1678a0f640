import { Failure } from '@zerda/chassis/failure';
import { z } from 'zod';
import type { PolicyKind } from './policy.ts';

const keys = {
  shed: z
    .enum(['on', 'off'])
    .optional()
    .describe(
      'Whether requests are refused with 503 while the gateway has too much to do (MAX_REQUESTS_IN_FLIGHT, MAX_EVENT_LOOP_DELAY_MS); on by default. Off is for what must be answered even then, such as health.',
    ),
};

/** One for all: what it costs to refuse is lost to what is answered. */
const overloaded = new Failure('overloaded', { headers: { 'Retry-After': '1' } });

/** Refuses what would be too much, as early and as cheaply as it can, so that what was begun is finished in time. */
export const shed: PolicyKind<typeof keys> = {
  keys,
  answerHeaders: [],
  describe: ({ shed: set }) => (set === 'off' ? 'never shed' : undefined),
  create({ shed: set }, _route, { load, metrics }) {
    if (set === 'off') return undefined;
    function requireCapacity(): void {
      const reason = load.reason();
      if (reason === undefined) return;
      metrics.shed(reason);
      throw overloaded;
    }
    return (visit) => {
      requireCapacity();
      const entry = load.enter();
      visit.load = { pause: entry.pause, resume: entry.resume, requireCapacity };
      // Once all of the response is handed over, only the client is left to be waited for.
      visit.response.on('prefinish', entry.leave).on('close', entry.leave);
      return false;
    };
  },
};
