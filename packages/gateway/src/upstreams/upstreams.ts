import { createUpstream, type Upstream, type UpstreamOptions } from '@zerda/upstream/upstream';
import { upstreamSettings } from '@zerda/upstream/upstream-variables';
import { type GatewayConfig, upstreamVariable } from '../config.ts';
import type { RouteTable } from '../routes/table.ts';

/** The services behind the gateway, by name. */
export type Upstreams = ReadonlyMap<string, Upstream>;

/**
 * Creates a client for every upstream of the table.
 * @param urls URLs by variable name, as `upstreamUrlVariables` reads them
 */
export function createUpstreams(
  { upstreams }: Pick<RouteTable, 'upstreams'>,
  urls: Readonly<Record<string, string>>,
  config: GatewayConfig,
  resources: Pick<UpstreamOptions, 'metrics' | 'logger' | 'lifecycle'>,
): Upstreams {
  return new Map(
    Object.entries(upstreams).map(([name, { max_in_flight }]) => [
      name,
      createUpstream({
        ...resources,
        ...upstreamSettings(config),
        name,
        baseUrl: urls[upstreamVariable(name)] ?? '',
        ...(max_in_flight !== undefined && { maxInFlight: max_in_flight }),
      }),
    ]),
  );
}

/** Returns an upstream by name. @throws Error for an unknown name, which the validation of the table rules out */
export function upstreamOf(upstreams: Upstreams, name: string): Upstream {
  const upstream = upstreams.get(name);
  if (upstream === undefined) throw new Error(`Unknown upstream: ${name}`);
  return upstream;
}
