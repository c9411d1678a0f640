import { Failure } from '@zerda/chassis/failure';
import { methodNotAllowed } from '@zerda/chassis/http/problem-response';
import { setRoute } from '@zerda/chassis/http/request-observer';
import { routerPath } from '@zerda/chassis/http/route-path';
import { currentContext } from '@zerda/chassis/request-context';
import { Router } from 'express';
import { cacheSettings } from '../cache/cache-settings.ts';
import { asMiddleware, type OwnPolicies } from '../own-endpoints/own-policies.ts';
import { runPolicies } from '../policies/policy.ts';
import { addHeaders, currentPolicyContext, type PolicyContext } from '../policies/policy-context.ts';
import type { PolicyFactory } from '../policies/route-policies.ts';
import { aggregatePolicies } from '../routes/route.ts';
import type { RouteTable, TableAggregate } from '../routes/table.ts';
import { type Upstreams, upstreamOf } from '../upstreams/upstreams.ts';
import { gather, type PartRequest, type PartResponses } from './gather.ts';
import { type CachedReads, readCachedJson } from './read-cached-json.ts';
import { readJson } from './read-json.ts';

export interface AggregateRouterDependencies {
  readonly upstreams: Upstreams;
  /** Reads the parts that have a cache. */
  readonly cachedReads: CachedReads;
  readonly policyFactory: PolicyFactory;
  readonly ownPolicies: Pick<OwnPolicies, 'preflight' | 'unmatched'>;
}

/** Creates the router of all configured aggregates. Parts are fetched in parallel; each member of the response comes from one part. */
export function createAggregateRouter(
  table: Pick<RouteTable, 'aggregates' | 'defaults'>,
  { upstreams, cachedReads, policyFactory, ownPolicies }: AggregateRouterDependencies,
): Router {
  const router = Router({ caseSensitive: true, strict: true });
  for (const aggregate of table.aggregates) {
    const composeBody = createAggregate(aggregate, upstreams, cachedReads);
    const { policies, preflight } = policyFactory.create(aggregatePolicies(table, aggregate), {
      scope: 'aggregates',
      name: `GET+HEAD ${aggregate.path}`,
      path: aggregate.path,
      methods: ['GET', 'HEAD'],
      forwarded: undefined,
      upstreams: Object.values(aggregate.parts).map(({ upstream }) => upstream),
    });
    router
      .route(routerPath(aggregate.path))
      .all((_request, response, next) => {
        setRoute(response, aggregate.path);
        next();
      })
      .options(async (request, response, next) => {
        if (preflight === undefined || request.headers['access-control-request-method'] === undefined)
          return next();
        const policyContext = currentPolicyContext(request, response);
        try {
          if (await ownPolicies.preflight(policyContext)) return;
        } catch (error) {
          addHeaders(response, policyContext.responseHeaders);
          throw error;
        }
        if (preflight(policyContext) !== true) next();
      })
      .get(async (request, response) => {
        const policyContext = currentPolicyContext(request, response);
        try {
          if (await runPolicies(policies, policyContext)) return;
        } finally {
          addHeaders(response, policyContext.responseHeaders);
        }
        const body = await composeBody(request.params as Readonly<Record<string, string>>, policyContext);
        // A partial response must not be stored as complete, and every write changes the complete one.
        response.setHeader('Cache-Control', 'no-store');
        response.type('json').send(body);
      })
      .all(asMiddleware(ownPolicies.unmatched), methodNotAllowed(['GET', 'HEAD']));
  }
  return router;
}

/** Creates the response body as JSON. */
type ComposeBody = (
  params: Readonly<Record<string, string>>,
  policyContext: PolicyContext,
) => Promise<string>;

/** Dot segments, which a URL resolves even if encoded: the part's request would have another path. */
const dotSegment = /^\.{1,2}$/;

function createAggregate(
  { path: pattern, params: formats, parts, answer: composition }: TableAggregate,
  upstreams: Upstreams,
  cachedReads: CachedReads,
): ComposeBody {
  const patterns = new Map(
    Object.entries(formats).map(([name, format]) => [name, new RegExp(`^(?:${format})$`, 'u')] as const),
  );
  const isValid = (name: string, value: string): boolean =>
    !dotSegment.test(value) && (patterns.get(name)?.test(value) ?? true);
  const configuredParts = Object.entries(parts).map(([name, part]) => ({
    ...part,
    name,
    settings: cacheSettings(part.cache),
    upstream: upstreamOf(upstreams, part.upstream),
    // A part without a required member fails, so that the defect is visible.
    members: Object.values(composition)
      .filter(({ from, omit_null }) => !omit_null && from.startsWith(`${name}.`))
      .map(({ from }) => from.slice(name.length + 1)),
  }));
  return async (params, policyContext) => {
    const invalid = Object.entries(params).filter(([name, value]) => !isValid(name, value));
    if (invalid.length > 0) {
      throw new Failure('invalid-request', {
        errors: invalid.map(([name]) => ({ path: name, message: 'has an invalid format' })),
      });
    }
    if (currentContext()?.deadline.expired) throw new Failure('deadline-exceeded');
    const requests = configuredParts.map(
      ({
        name,
        required,
        kept_statuses,
        upstream,
        path,
        timeout_ms: timeoutMs,
        members,
        settings,
      }): PartRequest => {
        const target = fillPath(path, params);
        return {
          name,
          required,
          passedStatuses: kept_statuses,
          fetch: async () =>
            settings === undefined
              ? { content: await readJson(upstream, target, { timeoutMs, members, template: path }) }
              : readCachedJson(
                  upstream,
                  target,
                  { pattern, timeoutMs, members, settings, policyContext, template: path },
                  cachedReads,
                ),
        };
      },
    );
    const { responses, degraded } = await gather(requests);
    const members = composeMembers(composition, responses);
    if (degraded.length > 0) members.set('degraded', JSON.stringify(degraded));
    const data = [...members].map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(',');
    return `{"status":"success","data":{${data}}}`;
  };
}

/** Fills the placeholders of a path; each value becomes one encoded segment. */
function fillPath(path: string, params: Readonly<Record<string, string>>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_placeholder, name: string) =>
    encodeURIComponent(params[name] ?? ''),
  );
}

/** Returns the members of the response as JSON text, unchanged from their parts. */
function composeMembers(
  composition: TableAggregate['answer'],
  responses: PartResponses,
): Map<string, string> {
  const members = new Map<string, string>();
  for (const [member, { from, missing, omit_null }] of Object.entries(composition)) {
    const [part = '', ...path] = from.split('.');
    const partResponse = responses.get(part);
    const json = partResponse === undefined ? JSON.stringify(missing) : (partResponse.at(path) ?? 'null');
    if (json !== 'null' || !omit_null) members.set(member, json);
  }
  return members;
}
