import { upstreamSettings } from '@zerda/chassis/config/common-variables';
import { createUpstream, type Upstream, type UpstreamOptions } from '@zerda/chassis/http-client/upstream';
import { type GatewayConfig, upstreamVariable } from './config.ts';
import type { RouteTable } from './routes/table.ts';

/** The services behind the gateway, by name. */
export type Upstreams = ReadonlyMap<string, Upstream>;

/** @param urls addresses by the name of their variable, as `upstreamUrlVariables` reads them */
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

/** @throws Error when there is none of that name, which reading the table rules out */
export function upstreamOf(upstreams: Upstreams, name: string): Upstream {
  const upstream = upstreams.get(name);
  if (upstream === undefined) throw new Error(`there is no upstream ${name}`);
  return upstream;
}
