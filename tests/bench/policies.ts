import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { prepareValkey } from '../../packages/gateway/src/limits/testing-valkey.ts';
import { startIssuer } from './access-token.ts';
import { bodies } from './bodies.ts';
import { type RunningGateway, startGateway } from './gateway.ts';
import type { Stage } from './stage.ts';
import { mayBeKept } from './static-upstream.ts';
import { spread } from './statistics.ts';

/** Policies that a gateway is measured with. */
interface Variant {
  readonly name: string;
  /** Keys of the route in its table. */
  readonly keys: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Query of the requests; none by default. */
  readonly query?: string;
}

const limit = 'limit: { requests: 1000000000, per_seconds: 10 }';
const shedOff = 'shed: off';

const rounds = 15;
const milliseconds = 500;

/**
 * What each policy costs a request, in microseconds of CPU: gateways that differ by it alone, on the same upstream, by
 * turns. Resolves with the exit code.
 */
export async function measurePolicies(stage: Stage): Promise<number> {
  const issuer = await startIssuer();
  const valkey = await prepareValkey().catch(() => undefined);
  await valkey?.start();
  const variants: readonly Variant[] = [
    { name: 'none', keys: shedOff },
    { name: 'none, once more', keys: shedOff },
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
      query: mayBeKept,
    },
  ];
  const gateways: RunningGateway[] = [];
  try {
    for (const [index, { keys, env }] of variants.entries()) {
      const file = join(stage.surroundings.folder, `routes-${index}.yaml`);
      await writeFile(
        file,
        `upstreams: { user-service: {} }\nroutes: [{ path: '/api/users/{id}', methods: [GET], upstream: user-service, ${keys} }]\n`,
      );
      gateways.push(
        await startGateway(stage.surroundings, {
          env: { ...process.env, AUTH: 'off', ...env, ROUTES_FILE: file },
        }),
      );
    }
    const cost: number[][] = variants.map(() => []);
    // The first round warms them up.
    for (let round = 0; round <= rounds; round += 1) {
      for (let turn = 0; turn < variants.length; turn += 1) {
        const index = (turn + round) % variants.length;
        const proxy = gateways[index];
        const { query } = variants[index] ?? {};
        if (proxy === undefined) continue;
        const { cpuMicroseconds, errors } = await stage.run({
          ...{ proxy, round, milliseconds },
          body: { ...bodies[0], path: query === undefined ? bodies[0].path : `${bodies[0].path}?${query}` },
          headers: { authorization: `Bearer ${issuer.token}` },
        });
        if (Object.keys(errors).length > 0) console.error(variants[index]?.name, errors);
        if (round > 0) cost[index]?.push(cpuMicroseconds ?? Number.NaN);
      }
    }
    console.log('| policies of the route | CPU µs/req | more than none |\n|---|--:|--:|');
    for (const [index, { name }] of variants.entries()) {
      const all = spread(cost[index] ?? []);
      const more = spread((cost[index] ?? []).map((own, round) => own - (cost[0]?.[round] ?? Number.NaN)));
      console.log(
        `| ${name} | ${all?.median.toFixed(1)} (${all?.lowest.toFixed(1)}-${all?.highest.toFixed(1)}) | ${index === 0 ? '' : more?.median.toFixed(1)} |`,
      );
    }
    return 0;
  } finally {
    for (const gateway of gateways) await gateway.stop();
    await valkey?.stop();
    await issuer.close();
  }
}
