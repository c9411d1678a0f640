import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AuditLog, failedOutcome } from '@zerda/chassis/audit/audit-log';
import { Failure } from '@zerda/chassis/failure';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import { logFailure, writeProblem } from '@zerda/chassis/http/problem-response';
import { setRoute } from '@zerda/chassis/http/request-observer';
import type { ResponseHeaders } from '@zerda/chassis/http/response-headers';
import type { Logger } from '@zerda/chassis/logging/logger';
import { type RequestContext, runInContext } from '@zerda/chassis/request-context';
import { CallerDisconnectedError } from '@zerda/upstream/call-outcome';
import type { ForwardedHeaders, SecureLookup } from '../headers/forwarded-headers.ts';
import { transportSecurityOf } from '../headers/security-headers.ts';
import type { BodyPacer } from '../overload/body-pacer.ts';
import type { SlowClients } from '../overload/slow-clients.ts';
import type { OwnPolicies } from '../own-endpoints/own-policies.ts';
import { isPreflight } from '../policies/cors.ts';
import { type Policy, runPolicies } from '../policies/policy.ts';
import { createPolicyContext, type PolicyContext } from '../policies/policy-context.ts';
import { isUnsafe } from '../requests/is-unsafe.ts';
import { endWhileReceiving } from '../responses/end-while-receiving.ts';
import type { Match, MatchedPath } from '../routes/match.ts';
import { toFailure } from '../upstreams/upstream-failure.ts';
import { forward } from './forward.ts';

export interface ForwardingHandlerDependencies {
  readonly match: Match;
  /** Headers of responses that the gateway generates. */
  readonly responseHeaders: ResponseHeaders;
  /** Headers that the gateway sets on forwarded responses. */
  readonly securityHeaders: ResponseHeaders;
  readonly forwardedHeaders: ForwardedHeaders;
  readonly isSecure: SecureLookup;
  readonly slowClients: SlowClients;
  readonly bodyPacer: BodyPacer;
  readonly clientAddress: ClientAddress;
  /** Policies of requests that match no route. */
  readonly ownPolicies: Pick<OwnPolicies, 'preflight' | 'unmatched'>;
  readonly logger: Logger;
  /** Gets a line for each write that a policy denies. */
  readonly audit: AuditLog;
}

/** Handles requests to the paths of the route table. Returns false when the path is not in the table. */
export type ForwardingHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  context: RequestContext,
) => boolean;

export function createForwardingHandler({
  match,
  responseHeaders,
  securityHeaders,
  forwardedHeaders,
  isSecure,
  slowClients,
  bodyPacer,
  clientAddress,
  ownPolicies,
  logger,
  audit,
}: ForwardingHandlerDependencies): ForwardingHandler {
  async function respond(
    request: IncomingMessage,
    response: ServerResponse,
    context: RequestContext,
    { path, routes, methods }: MatchedPath,
  ): Promise<void> {
    let policyContext: PolicyContext | undefined;
    try {
      const route = routes.get(request.method ?? '');
      const preflight = request.method === 'OPTIONS' ? preflightOf(request, routes) : undefined;
      if (preflight !== undefined) {
        policyContext = createPolicyContext(request, response, context);
        if (!(await ownPolicies.preflight(policyContext))) preflight(policyContext);
        return;
      }
      if (route === undefined) {
        policyContext = createPolicyContext(request, response, context);
        if (await ownPolicies.unmatched(policyContext)) return;
        throw new Failure('method-not-allowed', { allowedMethods: methods });
      }
      if (route.policies.length > 0) {
        policyContext = createPolicyContext(request, response, context);
        const responded = runPolicies(route.policies, policyContext);
        if (responded !== false && (await responded)) return;
      }
      await forward({
        context,
        request,
        response,
        route,
        policyContext,
        logger,
        securityHeaders,
        forwardedHeaders,
        isSecure,
        slowClients,
        bodyPacer,
        clientAddress,
      });
    } catch (error) {
      if (error instanceof CallerDisconnectedError) return;
      const failure = toFailure(error);
      logFailure(logger, failure, context);
      auditDenied(request.method ?? '', path, failure, { context, policyContext });
      const headers = [
        ...responseHeaders.list(context),
        ...transportSecurityOf(isSecure(request)),
        ...(policyContext?.responseHeaders ?? []),
      ];
      sendProblem(request, response, context, failure, headers);
    }
  }

  /** Writes an audit line if the gateway itself denies a write, because the service then does not get the request. */
  function auditDenied(
    method: string,
    path: string,
    failure: Failure,
    {
      context,
      policyContext,
    }: { readonly context: RequestContext; readonly policyContext: PolicyContext | undefined },
  ): void {
    const { outcome, reason } = failedOutcome(failure);
    if (outcome !== 'denied' || !isUnsafe(method)) return;
    const subject = policyContext?.caller?.subject;
    runInContext(context, () =>
      audit.write({
        action: 'route.call',
        outcome,
        reason,
        actor: subject === undefined ? { type: 'anonymous' } : { type: 'user', id: subject },
        entityId: `${method} ${path}`,
      }),
    );
  }

  return (request, response, context) => {
    const { url = '' } = request;
    const matchedPath = match(url.split('?', 1)[0] ?? '');
    if (matchedPath === undefined) return false;
    setRoute(response, matchedPath.path);
    void respond(request, response, context, matchedPath);
    return true;
  };
}

/**
 * Returns the policy that responds to a preflight request: that of the requested method's route, otherwise that of the
 * path's OPTIONS route. Returns undefined for other requests and for routes without CORS.
 */
function preflightOf(request: IncomingMessage, routes: MatchedPath['routes']): Policy | undefined {
  if (!isPreflight(request)) return undefined;
  const requestedRoute = routes.get(String(request.headers['access-control-request-method']));
  return requestedRoute?.preflight ?? routes.get('OPTIONS')?.preflight;
}

/** Sends a problem. If the client sends too much or too slowly, the connection closes after the response. */
function sendProblem(
  request: IncomingMessage,
  response: ServerResponse,
  context: RequestContext,
  failure: Failure,
  headers: readonly string[],
): void {
  const stopsReading = failure.code === 'payload-too-large' || failure.code === 'request-timeout';
  if (stopsReading && !request.complete) response.shouldKeepAlive = false;
  if (writeProblem(request, response, failure, context, headers)) endWhileReceiving(request, response);
}
