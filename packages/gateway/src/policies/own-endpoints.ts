import type { RequestHandler } from 'express';
import { z } from 'zod';
import { limit } from './limit.ts';
import { createPolicies } from './policies.ts';
import { type Policy, runPolicies } from './policy.ts';
import type { PolicyResources } from './resources.ts';
import { shed } from './shed.ts';
import { addHeaders, currentVisit, type Visit } from './visit.ts';

const { limit: limitKey } = limit.keys;
const { shed: shedKey } = shed.keys;

/** Keys of one kind of own endpoint, with what holds where the table does not set them. */
function entry(requests: number, perSeconds: number, shedding: 'on' | 'off', text: string) {
  const quota = { requests, per_seconds: perSeconds };
  return z
    .strictObject({
      limit: limitKey
        .default(quota)
        .describe(
          `Requests from one client address (of IPv6 the /64); more are answered 429. ${requests} in ${perSeconds} s by default; off is without a limit.`,
        ),
      shed: shedKey
        .default(shedding)
        .describe(
          `Whether requests are refused with 503 while the gateway has too much to do; ${shedding} by default.`,
        ),
    })
    .prefault({})
    .describe(text);
}

/** The table's section for what the gateway answers itself. A table without it has the defaults, so no endpoint is without a limit. */
export const ownEndpoints = z
  .strictObject({
    documentation: entry(300, 60, 'on', 'The pages at /docs and /problems, and /openapi.json.'),
    health: entry(600, 60, 'off', 'The endpoint /api/health, which probes and load balancers call.'),
    preflight: entry(
      5000,
      10,
      'on',
      'Preflight requests of browsers (CORS) to all routes together; a browser sends one for each URL.',
    ),
    unmatched: entry(
      1000,
      60,
      'on',
      'Requests that no route takes: an unknown path (404), another method (405) or a malformed request (400).',
    ),
  })
  .prefault({})
  .describe(
    'Limits of what the gateway answers itself, counted by client address. RATE_LIMIT_FACTOR multiplies them too.',
  );

export type OwnSettings = z.output<typeof ownEndpoints>;

/** A kind of endpoint that the gateway answers itself. */
export type OwnEndpoint = keyof OwnSettings;

/** Runs the policies of an own endpoint on a request. @throws Failure `rate-limited` or `overloaded` */
export type OwnPolicies = Readonly<Record<OwnEndpoint, (visit: Visit) => Promise<void>>>;

/** What metrics call each of them. */
const paths: Readonly<Record<OwnEndpoint, string>> = {
  documentation: '/docs',
  health: '/api/health',
  preflight: 'preflight',
  unmatched: 'unmatched',
};

/** Creates the policies of what the gateway answers itself: the same kinds as those of routes, without authentication. */
export function createOwnPolicies(settings: OwnSettings, resources: PolicyResources): OwnPolicies {
  const create = (name: OwnEndpoint) => {
    const route = {
      name: `own ${name}`,
      path: paths[name],
      methods: [],
      upstreams: [],
      forwarded: undefined,
    };
    const { policies } = createPolicies({ ...settings[name], access: 'public' }, route, resources);
    return runner(policies);
  };
  return {
    documentation: create('documentation'),
    health: create('health'),
    preflight: create('preflight'),
    unmatched: create('unmatched'),
  };
}

function runner(policies: readonly Policy[]): (visit: Visit) => Promise<void> {
  return async (visit) => {
    await runPolicies(policies, visit);
  };
}

/** A middleware that runs them before what comes after it. */
export function asMiddleware(run: (visit: Visit) => Promise<void>): RequestHandler {
  return async (request, response, next) => {
    const visit = currentVisit(request, response);
    try {
      await run(visit);
    } finally {
      addHeaders(response, visit.answerHeaders);
    }
    next();
  };
}

/** One line for each of them, as `npm run routes` shows it. */
export function describeOwnEndpoints(settings: OwnSettings): string[][] {
  return Object.entries(settings).map(([name, own]) => [
    name,
    [limit.describe(own), shed.describe(own)].filter((text) => text !== undefined).join(', '),
  ]);
}
