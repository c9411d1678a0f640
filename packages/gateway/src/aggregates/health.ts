import type { Caller } from '@zerda/chassis/auth/caller';
import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import type { Handlers } from '@zerda/chassis/http/api-router';
import { success } from '@zerda/chassis/http/success';
import { reasonOf } from '@zerda/chassis/http-client/call-outcome';
import type { Upstream } from '@zerda/chassis/http-client/upstream';
import type { gatewayOperations } from '@zerda/contracts/gateway';
import type { RouteTable } from '../routes/table.ts';
import { type Upstreams, upstreamOf } from '../upstreams.ts';
import { read } from './read.ts';

type SystemHealth = Awaited<ReturnType<Handlers<typeof gatewayOperations>['getHealth']>>['body'];

/**
 * Returns what each service of the table reports of itself, and for admins what its circuit has been through. A service that does
 * not respond is unhealthy. Services get the token of the caller, and decide by it what they report.
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
  return async (caller) => {
    const said = await Promise.all(
      asked
        .filter(({ path }) => path !== undefined)
        .map(async ({ member, upstream, path = '' }) => ({ member, ...(await askHealth(upstream, path)) })),
    );
    return success({
      gateway: 'healthy',
      services: Object.fromEntries(said.map(({ member, health }) => [member, health])),
      ...(caller?.role === 'admin' && {
        circuits: Object.fromEntries(
          asked.map(({ member, upstream }) => [member, describeCircuit(upstream)]),
        ),
      }),
      authentication: authentication === 'off' ? 'off' : 'required',
      overall_status: said.every(({ healthy }) => healthy) ? 'healthy' : 'degraded',
    }) as SystemHealth;
  };
}

async function askHealth(upstream: Upstream, path: string): Promise<{ health: unknown; healthy: boolean }> {
  try {
    const answer = await read(upstream, path, { members: ['data'] });
    return { health: (answer as { data: unknown }).data, healthy: true };
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
