import type { Caller } from '@zerda/chassis/auth/caller';
import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import type { Handlers } from '@zerda/chassis/http/api-router';
import { success } from '@zerda/chassis/http/success';
import { reasonOf } from '@zerda/chassis/http-client/call-outcome';
import type { Upstream } from '@zerda/chassis/http-client/upstream';
import { currentContext, runInContext } from '@zerda/chassis/request-context';
import type { gatewayOperations } from '@zerda/contracts/gateway';
import type { RouteTable } from '../routes/table.ts';
import { type Upstreams, upstreamOf } from '../upstreams.ts';
import { withinDeadline } from '../within-deadline.ts';
import { read } from './read.ts';

type SystemHealth = Awaited<ReturnType<Handlers<typeof gatewayOperations>['getHealth']>>['body'];

/** Milliseconds that one result is shown to all callers, counted from when the services were asked. */
const sharedMs = 1000;

/**
 * Returns what each service of the table reports of itself; a service that does not respond is unhealthy. The services are asked
 * without a token, once a second at most for all callers, so neither a flood nor the rights of one caller show in what another one
 * gets. Only an admin's request asks them anew, with the admin's token, and also returns what each circuit has been through.
 */
export function createHealth(
  table: Pick<RouteTable, 'upstreams'>,
  upstreams: Upstreams,
  authentication: Authentication,
): (caller: Caller | undefined) => Promise<SystemHealth> {
  const asked = Object.entries(table.upstreams).map(([name, { health }]) => ({
    member: name.replaceAll('-', '_'),
    upstream: upstreamOf(upstreams, name),
    path: health,
  }));

  async function askServices(forAdmin: boolean): Promise<SystemHealth> {
    const checkedAt = new Date();
    const said = await Promise.all(
      asked
        .filter(({ path }) => path !== undefined)
        .map(async ({ member, upstream, path = '' }) => ({ member, ...(await askHealth(upstream, path)) })),
    );
    const circuits = asked.map(({ member, upstream }) => [member, describeCircuit(upstream)]);
    return success({
      gateway: 'healthy',
      services: Object.fromEntries(said.map(({ member, health }) => [member, health])),
      ...(forAdmin && { circuits: Object.fromEntries(circuits) }),
      authentication: authentication === 'off' ? 'off' : 'required',
      checked_at: checkedAt.toISOString(),
      overall_status: said.every(({ healthy }) => healthy) ? 'healthy' : 'degraded',
    }) as SystemHealth;
  }

  let shared: { readonly result: Promise<SystemHealth>; readonly at: number } | undefined;
  let asking = false;
  function askForAll(): Promise<SystemHealth> {
    if (shared !== undefined && (asking || performance.now() - shared.at < sharedMs)) return shared.result;
    asking = true;
    // Without authentication all callers are admins.
    const result = runInContext(undefined, () => askServices(authentication === 'off')).finally(() => {
      asking = false;
    });
    shared = { result, at: performance.now() };
    return result;
  }

  return async (caller) => {
    if (authentication !== 'off' && caller?.role === 'admin') return askServices(true);
    const context = currentContext();
    return context === undefined ? askForAll() : withinDeadline(askForAll(), context);
  };
}

async function askHealth(upstream: Upstream, path: string): Promise<{ health: unknown; healthy: boolean }> {
  try {
    const answer = await read(upstream, path, { members: ['data'] });
    return { health: (answer.value as { data: unknown }).data, healthy: true };
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
