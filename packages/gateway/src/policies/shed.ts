import type { ServerResponse } from 'node:http';
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
      leaveAtEnd(visit.response, entry.leave);
      return false;
    };
  },
};

/** Calls `leave` once all of the response is handed over, when only its client is left to be waited for, or the client has left. */
function leaveAtEnd(response: ServerResponse, leave: () => void): void {
  response.on('close', leave);
  if (response.socket !== null) {
    response.on('prefinish', leave);
    return;
  }
  // A response behind others of its connection emits no event at its end, but only at its turn, which the client decides.
  const { end } = response;
  response.end = ((...args: Parameters<typeof end>) => {
    leave();
    return end.apply(response, args);
  }) as typeof end;
}
