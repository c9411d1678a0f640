import type { Caller } from '@zerda/chassis/auth/caller';
import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import type { Handlers } from '@zerda/chassis/http/api-router';
import { success } from '@zerda/chassis/http/success';
import { currentContext, runInContext } from '@zerda/chassis/request-context';
import type { gatewayOperations } from '@zerda/contracts/gateway/operations';
import { reasonOf } from '@zerda/upstream/call-outcome';
import type { Upstream } from '@zerda/upstream/upstream';
import { readJson } from '../aggregates/read-json.ts';
import { withinDeadline } from '../requests/within-deadline.ts';
import type { RouteTable } from '../routes/table.ts';
import { type Upstreams, upstreamOf } from '../upstreams/upstreams.ts';

type SystemHealth = Awaited<ReturnType<Handlers<typeof gatewayOperations>['getHealth']>>['body'];

/** Milliseconds from the start of a check during which all callers get its result. */
const sharedResultMs = 1000;

/**
 * Creates the health check of all configured services; a service that does not respond is unhealthy. Services are checked without a token
 * and at most once a second, and all callers share the result. A request of an admin always checks them with the admin's token, and its
 * result includes the history of each circuit breaker.
 */
export function createHealth(
  table: Pick<RouteTable, 'upstreams'>,
  upstreams: Upstreams,
  authentication: Authentication,
): (caller: Caller | undefined) => Promise<SystemHealth> {
  const services = Object.entries(table.upstreams).map(([name, { health }]) => ({
    member: name.replaceAll('-', '_'),
    upstream: upstreamOf(upstreams, name),
    path: health,
  }));

  async function checkServices(forAdmin: boolean): Promise<SystemHealth> {
    const checkedAt = new Date();
    const reports = await Promise.all(
      services
        .filter(({ path }) => path !== undefined)
        .map(async ({ member, upstream, path = '' }) => ({ member, ...(await checkHealth(upstream, path)) })),
    );
    const circuits = services.map(({ member, upstream }) => [member, describeCircuit(upstream)]);
    return success({
      gateway: 'healthy',
      services: Object.fromEntries(reports.map(({ member, health }) => [member, health])),
      ...(forAdmin && { circuits: Object.fromEntries(circuits) }),
      authentication: authentication === 'off' ? 'off' : 'required',
      checked_at: checkedAt.toISOString(),
      overall_status: reports.every(({ healthy }) => healthy) ? 'healthy' : 'degraded',
    }) as SystemHealth;
  }

  let shared: { readonly result: Promise<SystemHealth>; readonly at: number } | undefined;
  let inProgress = false;
  function checkForAll(): Promise<SystemHealth> {
    if (shared !== undefined && (inProgress || performance.now() - shared.at < sharedResultMs))
      return shared.result;
    inProgress = true;
    // Without authentication, every caller has admin rights.
    const result = runInContext(undefined, () => checkServices(authentication === 'off')).finally(() => {
      inProgress = false;
    });
    shared = { result, at: performance.now() };
    return result;
  }

  return async (caller) => {
    if (authentication !== 'off' && caller?.role === 'admin') return checkServices(true);
    const context = currentContext();
    return context === undefined ? checkForAll() : withinDeadline(checkForAll(), context);
  };
}

async function checkHealth(upstream: Upstream, path: string): Promise<{ health: unknown; healthy: boolean }> {
  try {
    const response = await readJson(upstream, path, { members: ['data'], template: path });
    return { health: (response.value as { data: unknown }).data, healthy: true };
  } catch (error) {
    return {
      health: { service: upstream.name, status: 'unhealthy', reason: reasonOf(error) },
      healthy: false,
    };
  }
}

function describeCircuit({ breaker, inFlight }: Upstream) {
  const { since, ...counts } = breaker.history;
  return { state: breaker.state, since: since.toISOString(), ...counts, in_flight: inFlight };
}
