import type { ServerResponse } from 'node:http';
import { Failure } from '@zerda/chassis/failure';
import { z } from 'zod';
import { definePolicy } from './policy.ts';

const schema = z
  .enum(['on', 'off'])
  .optional()
  .describe(
    'Whether requests are rejected with 503 while the gateway is overloaded (MAX_REQUESTS_IN_FLIGHT, MAX_EVENT_LOOP_DELAY_MS). Default: on. Set off for endpoints that must always respond, such as health checks.',
  );

// Shared instance: rejecting must be cheap.
const overloaded = new Failure('overloaded', { retryAfterSeconds: 1 });

/** Rejects requests while the gateway is overloaded, so that requests in flight finish in time. */
export const shed = definePolicy({
  key: 'shed',
  schema,
  scopes: ['routes', 'aggregates', 'own'],
  resources: ['load', 'metrics'],
  documentation: { effect: 'rejects requests during overload', response: '503 `overloaded`' },
  describe: (setting) => (setting === 'off' ? 'never shed' : undefined),
  create(setting, _route, { load, metrics }) {
    if (setting === 'off') return undefined;
    function requireCapacity(): void {
      const reason = load.reason();
      if (reason === undefined) return;
      metrics.shed(reason);
      throw overloaded;
    }
    return (policyContext) => {
      requireCapacity();
      const entry = load.enter();
      policyContext.load = { pause: entry.pause, resume: entry.resume, requireCapacity };
      leaveAtEnd(policyContext.response, entry.leave);
      return false;
    };
  },
});

/** Calls `leave` when the whole response is written and only the client still reads it, or when the client disconnects. */
function leaveAtEnd(response: ServerResponse, leave: () => void): void {
  response.on('close', leave);
  if (response.socket !== null) {
    response.on('prefinish', leave);
    return;
  }
  // A pipelined response emits 'prefinish' only after the ones before it, which depends on the client.
  const { end } = response;
  response.end = ((...args: Parameters<typeof end>) => {
    leave();
    return end.apply(response, args);
  }) as typeof end;
}
