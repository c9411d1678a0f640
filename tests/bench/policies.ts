import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startValkey } from '../../packages/gateway/testing/valkey.ts';
import { startIssuer } from './access-token.ts';
import { bodies } from './bodies.ts';
import { type RunningGateway, startGateway } from './gateway.ts';
import type { Harness } from './harness.ts';
import { cacheableQuery } from './static-upstream.ts';
import { spread } from './statistics.ts';

/** A set of policies to measure. */
interface Variant {
  readonly name: string;
  /** Policy keys of the route in routes.yaml. */
  readonly keys: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Query string of the requests. Default: none. */
  readonly query?: string;
}

const limit = 'limit: { requests: 1000000000, per_seconds: 10 }';
const shedOff = 'shed: off';

const rounds = 15;
const milliseconds = 500;

/**
 * Measures the CPU cost of each policy per request. Gateways that differ only in their policies take turns in front of the same
 * upstream. Resolves with the exit code.
 */
export async function measurePolicies(harness: Harness): Promise<number> {
  const issuer = await startIssuer();
  const valkey = await startValkey().catch(() => undefined);
  const variants: readonly Variant[] = [
    { name: 'none', keys: shedOff },
    { name: 'none (repeated)', keys: shedOff },
    { name: 'shed', keys: 'shed: on' },
    { name: 'cors', keys: `${shedOff}, cors: { origins: ['https://app.test'] }` },
    { name: 'limit, in memory', keys: `${shedOff}, ${limit}` },
    ...(valkey === undefined
      ? []
      : [{ name: 'limit, in Valkey', keys: `${shedOff}, ${limit}`, env: { VALKEY_URL: valkey.url } }]),
    { name: 'authenticate', keys: shedOff, env: issuer.env },
    { name: 'shed, authenticate, limit in memory', keys: limit, env: issuer.env },
    {
      name: 'authenticate, cache (hits)',
      keys: `${shedOff}, cache: { ttl_ms: 300000 }`,
      env: issuer.env,
      query: cacheableQuery,
    },
  ];
  const gateways: RunningGateway[] = [];
  try {
    for (const [index, { keys, env }] of variants.entries()) {
      const file = join(harness.proxyOptions.folder, `routes-${index}.yaml`);
      await writeFile(
        file,
        `upstreams: { user-service: {} }\nroutes: [{ path: '/api/users/{id}', methods: [GET], upstream: user-service, ${keys} }]\n`,
      );
      gateways.push(
        await startGateway(harness.proxyOptions, {
          env: { ...process.env, AUTH: 'off', ...env, ROUTES_FILE: file },
        }),
      );
    }
    const cost: number[][] = variants.map(() => []);
    // Round 0 is the warm-up.
    for (let round = 0; round <= rounds; round += 1) {
      for (let turn = 0; turn < variants.length; turn += 1) {
        const index = (turn + round) % variants.length;
        const proxy = gateways[index];
        const { query } = variants[index] ?? {};
        if (proxy === undefined) continue;
        const { cpuMicroseconds, errors } = await harness.run({
          proxy,
          round,
          milliseconds,
          body: { ...bodies[0], path: query === undefined ? bodies[0].path : `${bodies[0].path}?${query}` },
          headers: { authorization: `Bearer ${issuer.token}` },
        });
        if (Object.keys(errors).length > 0) console.error(variants[index]?.name, errors);
        if (round > 0) cost[index]?.push(cpuMicroseconds ?? Number.NaN);
      }
    }
    console.log('| route policies | CPU µs/req | extra CPU µs/req |\n|---|--:|--:|');
    for (const [index, { name }] of variants.entries()) {
      const cpu = spread(cost[index] ?? []);
      const extra = spread(
        (cost[index] ?? []).map((value, round) => value - (cost[0]?.[round] ?? Number.NaN)),
      );
      console.log(
        `| ${name} | ${cpu?.median.toFixed(1)} (${cpu?.lowest.toFixed(1)}-${cpu?.highest.toFixed(1)}) | ${index === 0 ? '' : extra?.median.toFixed(1)} |`,
      );
    }
    return 0;
  } finally {
    for (const gateway of gateways) await gateway.stop();
    await valkey?.stop();
    await issuer.close();
  }
}
