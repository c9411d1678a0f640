import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { isEndToEnd } from '../passed-headers.ts';
import type { Policy, PolicyKind } from './policy.ts';
import type { Visit } from './visit.ts';

const origin = z
  .string()
  .refine((text) => text === '*' || !text.includes('*'), {
    error: 'has a wildcard within it, which matches no origin: name each origin',
    abort: true,
  })
  .refine(
    (text) => text === '*' || isOrigin(text),
    'must be an origin such as https://app.example.com, or *',
  );

/** Schemes whose documents have no origin that a browser sends (HTML Standard, "ASCII serialization of an origin"). */
const withoutOrigin = /^(file|data|blob|javascript|about|ftp|wss?):/;

/** Whether a browser could send exactly this as `Origin`; apps in a web view have schemes of their own, such as capacitor://localhost. */
function isOrigin(text: string): boolean {
  if (/^https?:/i.test(text)) return URL.canParse(text) && new URL(text).origin === text;
  return !withoutOrigin.test(text) && /^[a-z][a-z0-9+.-]*:\/\/[a-z0-9.-]+(:[1-9][0-9]{0,4})?$/.test(text);
}

const allowedHeader = z
  .string()
  .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, 'must be the name of a header')
  .refine(
    (name) => name !== '*' && isEndToEnd(name.toLowerCase()),
    'is a header that the gateway does not forward',
  );

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
          allowed_headers: z
            .array(allowedHeader)
            .max(50)
            .default([])
            .describe(
              'Request headers that those pages may send beside those that the API reads, such as traceparent; none by default.',
            ),
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

/** Headers that pages may always send: those that the API reads. */
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
  const headers = [requestHeaders, ...set.allowed_headers].join(', ');
  return (visit) => {
    const { request, response } = visit;
    if (!isPreflight(request)) return false;
    if (allow(visit)) {
      visit.answerHeaders.push('Access-Control-Allow-Methods', methods.join(', '));
      visit.answerHeaders.push('Access-Control-Allow-Headers', headers);
      visit.answerHeaders.push('Access-Control-Max-Age', String(set.max_age_seconds));
    }
    visit.answerHeaders.push('Vary', 'Access-Control-Request-Method');
    response.writeHead(204, visit.answerHeaders);
    response.end();
    return true;
  };
}

/** Whether a request is what a browser asks before another one (Fetch Standard, CORS-preflight request). */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return (
    method === 'OPTIONS' &&
    headers['access-control-request-method'] !== undefined &&
    headers.origin !== undefined
  );
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
