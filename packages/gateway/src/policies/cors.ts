import { z } from 'zod';
import type { Policy, PolicyKind } from './policy.ts';
import type { Visit } from './visit.ts';

const origin = z.string().refine((text) => {
  try {
    return text === '*' || new URL(text).origin === text;
  } catch {
    return false;
  }
}, 'must be an origin such as https://app.example.com, or *');

const keys = {
  cors: z
    .union([
      z.literal('off'),
      z
        .strictObject({
          origins: z
            .array(origin)
            .min(1)
            .describe('Origins whose pages may read answers; * is any, and goes without credentials.'),
          credentials: z
            .boolean()
            .default(false)
            .describe('Whether those pages may send cookies along; false by default.'),
          max_age_seconds: z
            .int()
            .min(0)
            .max(86_400)
            .default(600)
            .describe('Seconds that a browser may keep what it was told before it asked; 600 by default.'),
        })
        .refine(
          ({ origins, credentials }) => !(credentials && origins.includes('*')),
          'must name its origins when pages may send credentials',
        )
        .describe('Which pages of other origins may call this route (CORS, Fetch Standard).'),
    ])
    .optional()
    .describe(
      'Pages of other origins that may call this route from a browser; none by default, or when it is off.',
    ),
};

type Cors = Exclude<z.output<typeof keys.cors>, undefined | 'off'>;

/** Headers that pages may send: those that the API reads. */
const requestHeaders =
  'Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, X-Correlation-Id, X-Request-Timeout-Ms';

/** Headers of an answer that pages may read beside those that they always may. */
const exposedHeaders =
  'ETag, Location, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, X-Correlation-Id, X-Problem, Idempotency-Replayed, X-Cache, Age';

/** Lets pages of other origins read answers; what they ask before a request is answered by `createPreflight`. */
export const cors: PolicyKind<typeof keys> = {
  keys,
  answerHeaders: [
    'access-control-allow-origin',
    'access-control-allow-credentials',
    'access-control-expose-headers',
  ],
  describe: ({ cors: set }) =>
    set === undefined || set === 'off'
      ? undefined
      : `CORS ${set.origins.join(' ')}${set.credentials ? ' with credentials' : ''}`,
  create({ cors: set }) {
    if (set === undefined || set === 'off') return undefined;
    const allow = createAllow(set);
    return (visit) => {
      if (allow(visit)) visit.answerHeaders.push('Access-Control-Expose-Headers', exposedHeaders);
      return false;
    };
  },
};

/**
 * Answers what a browser asks before it makes a request of another origin (preflight), before anybody asks who it is: it sends
 * no credentials with it. False when the request is none. A refusal is an answer without permissions.
 */
export function createPreflight(set: Cors, methods: readonly string[]): Policy {
  const allow = createAllow(set);
  return (visit) => {
    const { request, response } = visit;
    if (
      request.headers['access-control-request-method'] === undefined ||
      request.headers.origin === undefined
    )
      return false;
    if (allow(visit)) {
      visit.answerHeaders.push('Access-Control-Allow-Methods', methods.join(', '));
      visit.answerHeaders.push('Access-Control-Allow-Headers', requestHeaders);
      visit.answerHeaders.push('Access-Control-Max-Age', String(set.max_age_seconds));
    }
    visit.answerHeaders.push('Vary', 'Access-Control-Request-Method');
    response.writeHead(204, visit.answerHeaders);
    response.end();
    return true;
  };
}

/** Names the origin in the answer when it is one of those that are allowed. */
function createAllow({ origins, credentials }: Cors): (visit: Visit) => boolean {
  const anyOrigin = origins.includes('*');
  const allowed = new Set(origins);
  return ({ request, answerHeaders }) => {
    const { origin: asking } = request.headers;
    if (!anyOrigin) answerHeaders.push('Vary', 'Origin');
    if (asking === undefined || !(anyOrigin || allowed.has(asking))) return false;
    answerHeaders.push('Access-Control-Allow-Origin', anyOrigin ? '*' : asking);
    if (credentials) answerHeaders.push('Access-Control-Allow-Credentials', 'true');
    return true;
  };
}
