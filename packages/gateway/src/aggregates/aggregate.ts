import { Failure } from '@zerda/chassis/failure';
import { methodNotAllowed } from '@zerda/chassis/http/problem-response';
import { setRoute } from '@zerda/chassis/http/request-observer';
import { routerPath } from '@zerda/chassis/http/route-path';
import { currentContext } from '@zerda/chassis/request-context';
import { Router } from 'express';
import { cacheSettings } from '../policies/cache.ts';
import { asMiddleware, type OwnPolicies } from '../policies/own-endpoints.ts';
import { createPolicies } from '../policies/policies.ts';
import { runPolicies } from '../policies/policy.ts';
import type { PolicyResources } from '../policies/resources.ts';
import { addHeaders, currentVisit, type Visit } from '../policies/visit.ts';
import { aggregatePolicies } from '../routes/route.ts';
import type { RouteTable, TableAggregate } from '../routes/table.ts';
import { type Upstreams, upstreamOf } from '../upstreams.ts';
import { type Ask, gather, type PartAnswers } from './gather.ts';
import { read } from './read.ts';
import { readKept } from './read-kept.ts';

/** Answers the aggregates of the table: all parts are asked for at once, and each member is taken from one of them. */
export function createAggregateRouter(
  table: Pick<RouteTable, 'aggregates' | 'defaults'>,
  upstreams: Upstreams,
  resources: PolicyResources,
  own: Pick<OwnPolicies, 'preflight' | 'unmatched'>,
): Router {
  const router = Router({ caseSensitive: true, strict: true });
  for (const aggregate of table.aggregates) {
    const answer = createAggregate(aggregate, upstreams, resources);
    const { policies, preflight } = createPolicies(
      aggregatePolicies(table, aggregate),
      {
        name: `GET+HEAD ${aggregate.path}`,
        ...{ path: aggregate.path, methods: ['GET', 'HEAD'], forwarded: undefined },
        upstreams: Object.values(aggregate.parts).map(({ upstream }) => upstream),
      },
      resources,
    );
    router
      .route(routerPath(aggregate.path))
      .all((_request, response, next) => {
        setRoute(response, aggregate.path);
        next();
      })
      .options(async (request, response, next) => {
        if (preflight === undefined || request.headers['access-control-request-method'] === undefined)
          return next();
        const visit = currentVisit(request, response);
        try {
          await own.preflight(visit);
        } catch (error) {
          addHeaders(response, visit.answerHeaders);
          throw error;
        }
        if (preflight(visit) !== true) next();
      })
      .get(async (request, response) => {
        const visit = currentVisit(request, response);
        try {
          await runPolicies(policies, visit);
        } finally {
          addHeaders(response, visit.answerHeaders);
        }
        const body = await answer(request.params as Readonly<Record<string, string>>, visit);
        // What is partial must not be kept as the whole, and the whole changes with every write.
        response.setHeader('Cache-Control', 'no-store');
        response.type('json').send(body);
      })
      .all(asMiddleware(own.unmatched), methodNotAllowed(['GET', 'HEAD']));
  }
  return router;
}

/** Makes the body of the response, as JSON. */
type Answer = (params: Readonly<Record<string, string>>, visit: Visit) => Promise<string>;

/** Segments that a URL does not hold but resolves, encoded or not: a part would be asked for another path. */
const strayingSegment = /^\.{1,2}$/;

function createAggregate(
  { path: pattern, params: given, parts, answer }: TableAggregate,
  upstreams: Upstreams,
  resources: PolicyResources,
): Answer {
  const forms = new Map(
    Object.entries(given).map(([name, form]) => [name, new RegExp(`^(?:${form})$`, 'u')] as const),
  );
  const fits = (name: string, value: string): boolean =>
    !strayingSegment.test(value) && (forms.get(name)?.test(value) ?? true);
  const asked = Object.entries(parts).map(([name, part]) => ({
    ...part,
    name,
    settings: cacheSettings(part.cache),
    upstream: upstreamOf(upstreams, part.upstream),
    // A part without a member that is wanted of it is broken: better seen than shown as nothing.
    members: Object.values(answer)
      .filter(({ from, omit_null }) => !omit_null && from.startsWith(`${name}.`))
      .map(({ from }) => from.slice(name.length + 1)),
  }));
  return async (params, visit) => {
    const unfit = Object.entries(params).filter(([name, value]) => !fits(name, value));
    if (unfit.length > 0) {
      throw new Failure('invalid-request', {
        errors: unfit.map(([name]) => ({ path: name, message: 'is not of the form that this path takes' })),
      });
    }
    if (currentContext()?.deadline.expired) throw new Failure('deadline-exceeded');
    const asks = asked.map(
      ({ name, required, kept_statuses, upstream, path, timeout_ms: timeoutMs, members, settings }): Ask => {
        const target = fill(path, params);
        return {
          ...{ name, required, keptStatuses: kept_statuses },
          ask: async () =>
            settings === undefined
              ? { content: await read(upstream, target, { timeoutMs, members }) }
              : readKept(
                  upstream,
                  target,
                  { ...{ pattern, timeoutMs, members }, ...{ settings, visit } },
                  resources,
                ),
        };
      },
    );
    const { answers, degraded } = await gather(asks);
    const members = compose(answer, answers);
    if (degraded.length > 0) members.set('degraded', JSON.stringify(degraded));
    const data = [...members].map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(',');
    return `{"status":"success","data":{${data}}}`;
  };
}

/** The path with its placeholders filled in, each as one segment whatever is in it. */
function fill(path: string, params: Readonly<Record<string, string>>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_placeholder, name: string) =>
    encodeURIComponent(params[name] ?? ''),
  );
}

/** The members of the response by name, each as JSON: what comes from a part is as the part has it. */
function compose(answer: TableAggregate['answer'], answers: PartAnswers): Map<string, string> {
  const members = new Map<string, string>();
  for (const [member, { from, missing, omit_null }] of Object.entries(answer)) {
    const [part = '', ...path] = from.split('.');
    const whole = answers.get(part);
    const json = whole === undefined ? JSON.stringify(missing) : (whole.at(path) ?? 'null');
    if (json !== 'null' || !omit_null) members.set(member, json);
  }
  return members;
}
