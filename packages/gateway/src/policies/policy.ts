import type { z } from 'zod';
import type { ForwardedRoute } from '../routes/forwarded-route.ts';
import type { PolicyResources } from './resources.ts';
import type { Visit } from './visit.ts';

/**
 * One step of a route. True says that it has answered, or will; false that the request goes on. What it throws is the
 * answer. It returns a promise only when it has to wait: most requests pass all steps without.
 */
export type Policy = (visit: Visit) => boolean | Promise<boolean>;

/** What a policy is made for: an entry of the table. */
export interface PolicyRoute {
  /** Methods and pattern, as in `GET /api/users/{id}`: unlike that of any other entry. */
  readonly name: string;
  /** Pattern, as metrics have it. */
  readonly path: string;
  /** Methods that it takes. */
  readonly methods: readonly string[];
  /** Names of the upstreams that one request leads to a call of; one twice when it is called twice. */
  readonly upstreams: readonly string[];
  /** How it is forwarded; undefined for an aggregate. */
  readonly forwarded: ForwardedRoute | undefined;
}

/** A kind of policy: its keys in the table, and what they become. Each file beside this one that ends a word is one. */
export interface PolicyKind<Keys extends z.ZodRawShape = z.ZodRawShape> {
  /** Keys of a route, an aggregate and the table's `defaults`; each is optional. */
  readonly keys: Keys;
  /** Names of headers, in lower case, that it writes and no upstream may. */
  readonly answerHeaders: readonly string[];
  /** What `npm run routes` shows of it; undefined for nothing. */
  describe(settings: z.output<z.ZodObject<Keys>>): string | undefined;
  /** Its step for one route; undefined when the route does without, and then pays nothing. */
  create(
    settings: z.output<z.ZodObject<Keys>>,
    route: PolicyRoute,
    resources: PolicyResources,
  ): Policy | undefined;
}

/** Whether one of the steps has answered; they run in order, and without a promise as long as none waits. */
export function runPolicies(policies: readonly Policy[], visit: Visit, from = 0): boolean | Promise<boolean> {
  for (let index = from; index < policies.length; index += 1) {
    const answered = policies[index]?.(visit) ?? false;
    if (typeof answered !== 'boolean') {
      return answered.then((ended) => ended || runPolicies(policies, visit, index + 1));
    }
    if (answered) return true;
  }
  return false;
}
