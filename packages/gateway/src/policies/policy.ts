import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '@zerda/chassis/auth/caller';
import type { Failure } from '@zerda/chassis/failure';
import type { RequestContext } from '@zerda/chassis/request-context';
import type { z } from 'zod';
import type { ForwardedRoute } from '../routes/route.ts';
import type { PolicyResources } from './resources.ts';

/** A request on its way through the policies of its route. */
export interface Visit {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly context: RequestContext;
  /** Who asks, once that is known; undefined for somebody who does not say. */
  caller: Caller | undefined;
  /** Why the caller is not believed: kept until the request has been counted, then thrown. */
  refusal: Failure | undefined;
  /** Headers that the answer gets beside its own, whatever it is: name, value, name, value. */
  readonly answerHeaders: string[];
  /** Told right before the head of an answer leaves that came from an upstream. */
  onAnswer: (() => void) | undefined;
}

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
