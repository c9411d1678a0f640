import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { isEndToEnd, traceHeaders } from '../headers/passed-headers.ts';
import { definePolicy, type Policy } from './policy.ts';
import type { PolicyContext } from './policy-context.ts';

const origin = z
  .string()
  .refine((text) => text === '*' || !text.includes('*'), {
    error: 'contains a wildcard, which matches no origin: list each origin',
    abort: true,
  })
  .refine(
    (text) => text === '*' || isOrigin(text),
    'must be an origin such as https://app.example.com, or *',
  );

/** Schemes that browsers never send in `Origin`: no document has such an origin (HTML Standard, "ASCII serialization of an origin"). */
const schemesWithoutOrigin = /^(file|data|blob|javascript|about|ftp|wss?):/;

/** Whether a browser can send this text as `Origin`. Web views use custom schemes, such as capacitor://localhost. */
function isOrigin(text: string): boolean {
  if (/^https?:/i.test(text)) return URL.canParse(text) && new URL(text).origin === text;
  return (
    !schemesWithoutOrigin.test(text) && /^[a-z][a-z0-9+.-]*:\/\/[a-z0-9.-]+(:[1-9][0-9]{0,4})?$/.test(text)
  );
}

const allowedHeader = z
  .string()
  .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, 'must be a header name')
  .refine(
    (name) => name !== '*' && (isEndToEnd(name.toLowerCase()) || traceHeaders.includes(name.toLowerCase())),
    'is a header that the gateway does not forward',
  );

const schema = z
  .union([
    z.literal('off'),
    z
      .strictObject({
        origins: z.array(origin).min(1).describe('Allowed origins. * allows any origin, but no credentials.'),
        credentials: z
          .boolean()
          .default(false)
          .describe('Whether requests may include cookies. Default: false.'),
        allowed_headers: z
          .array(allowedHeader)
          .max(50)
          .default([])
          .describe(
            'Allowed request headers in addition to those that the API reads, such as traceparent. Default: none.',
          ),
        max_age_seconds: z
          .int()
          .min(0)
          .max(86_400)
          .default(600)
          .describe('Seconds that browsers may cache a preflight response. Default: 600.'),
      })
      .refine(
        ({ origins, credentials }) => !(credentials && origins.includes('*')),
        'must list its origins if credentials are allowed',
      )
      .describe('CORS settings (Fetch Standard).'),
  ])
  .optional()
  .describe('CORS: which other origins may call this route from a browser. off, the default, allows none.');

type Cors = Exclude<z.output<typeof schema>, undefined | 'off'>;

/** Request headers that are always allowed: those that the API reads. */
const requestHeaders =
  'Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, X-Correlation-Id, X-Request-Timeout-Ms';

/** Response headers that scripts may read, in addition to the CORS-safelisted ones. */
const exposedHeaders =
  'ETag, Location, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, X-Correlation-Id, traceresponse, X-Problem, Idempotency-Replayed, X-Cache, Age';

/** Adds the CORS headers of actual requests; `createPreflight` handles preflight requests. */
export const cors = definePolicy({
  key: 'cors',
  schema,
  scopes: ['routes', 'aggregates'],
  resources: [],
  responseHeaders: (settings) =>
    settings === undefined || settings === 'off'
      ? []
      : ['access-control-allow-origin', 'access-control-allow-credentials', 'access-control-expose-headers'],
  documentation: {
    effect: 'allows pages of other origins; responds to preflights before authentication',
    response: '204',
  },
  describe: (settings) =>
    settings === undefined || settings === 'off'
      ? undefined
      : `CORS ${settings.origins.join(' ')}${settings.credentials ? ' with credentials' : ''}`,
  create(settings) {
    if (settings === undefined || settings === 'off') return undefined;
    const allowOrigin = createOriginCheck(settings);
    return (policyContext) => {
      if (allowOrigin(policyContext))
        policyContext.responseHeaders.push('Access-Control-Expose-Headers', exposedHeaders);
      return false;
    };
  },
  createPreflight: (settings, { methods }) =>
    settings === undefined || settings === 'off' ? undefined : createPreflight(settings, methods),
});

/**
 * Creates the step that responds to CORS preflight requests; it returns false for other requests. It runs before authentication, because
 * browsers send preflight requests without credentials. A preflight response without CORS headers denies the request.
 */
function createPreflight(settings: Cors, methods: readonly string[]): Policy {
  const allowOrigin = createOriginCheck(settings);
  const headers = [requestHeaders, ...settings.allowed_headers].join(', ');
  return (policyContext) => {
    const { request, response } = policyContext;
    if (!isPreflight(request)) return false;
    if (allowOrigin(policyContext)) {
      policyContext.responseHeaders.push('Access-Control-Allow-Methods', methods.join(', '));
      policyContext.responseHeaders.push('Access-Control-Allow-Headers', headers);
      policyContext.responseHeaders.push('Access-Control-Max-Age', String(settings.max_age_seconds));
    }
    policyContext.responseHeaders.push('Vary', 'Access-Control-Request-Method');
    response.writeHead(204, policyContext.responseHeaders);
    response.end();
    return true;
  };
}

/** Whether a request is a CORS-preflight request (Fetch Standard). */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return (
    method === 'OPTIONS' &&
    headers['access-control-request-method'] !== undefined &&
    headers.origin !== undefined
  );
}

/** Creates the function that adds `Access-Control-Allow-Origin` and returns whether the origin is allowed. */
function createOriginCheck({ origins, credentials }: Cors): (policyContext: PolicyContext) => boolean {
  const anyOrigin = origins.includes('*');
  const allowed = new Set(origins);
  return ({ request, responseHeaders }) => {
    const { origin: requestOrigin } = request.headers;
    if (!anyOrigin) responseHeaders.push('Vary', 'Origin');
    if (requestOrigin === undefined || !(anyOrigin || allowed.has(requestOrigin))) return false;
    responseHeaders.push('Access-Control-Allow-Origin', anyOrigin ? '*' : requestOrigin);
    if (credentials) responseHeaders.push('Access-Control-Allow-Credentials', 'true');
    return true;
  };
}
