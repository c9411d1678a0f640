import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import type { ServerProcess } from '../../packages/chassis/testing/server.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { describeOnValkey, startValkey } from '../../packages/gateway/testing/valkey.ts';
import { bundleServices } from '../kit/bundle-services.ts';
import { type GatewayProcess, startGateway } from '../kit/gateway.ts';
import { readSample } from '../kit/metrics.ts';
import { startRecordingUpstream } from './hostile/recording-upstream.ts';

const routes = `
upstreams: { user-service: {} }
routes:
  - { path: /few, methods: [GET], upstream: user-service, limit: { requests: 10, per_seconds: 600 } }
  - { path: /many, methods: [GET], upstream: user-service, limit: { requests: 1000000, per_seconds: 600 } }
`;

await describeOnValkey('two gateways with shared rate limits', () => {
  let folder: string;
  let valkey: ServerProcess;
  let upstream: Awaited<ReturnType<typeof startRecordingUpstream>>;
  let replicas: readonly GatewayProcess[];

  async function startReplica(): Promise<GatewayProcess> {
    const gateway = await startGateway({
      ROUTES_FILE: join(folder, 'routes.yaml'),
      USER_SERVICE_URL: `http://127.0.0.1:${upstream.port}`,
      VALKEY_URL: valkey.url,
    });
    await gateway.process.ready();
    return gateway;
  }

  const untilShared = (expected: boolean): Promise<void> =>
    eventually(async () => {
      for (const { managementUrl } of replicas)
        assert.equal(await readSample(managementUrl, 'rate_limits_shared'), expected ? 1 : 0);
    });

  before(async () => {
    await bundleServices();
    folder = await mkdtemp(join(tmpdir(), 'zerda-limits-'));
    await writeFile(join(folder, 'routes.yaml'), routes);
    valkey = await startValkey();
    await valkey.kill();
    upstream = await startRecordingUpstream();
    replicas = await Promise.all([startReplica(), startReplica()]);
  });
  after(async () => {
    await Promise.all(replicas.map((replica) => replica.process.stop()));
    await upstream.close();
    await valkey.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const statusesOf = (path: string, count: number): Promise<number[]> =>
    Promise.all(
      Array.from({ length: count }, async (_, index) => {
        return (await sendRequest(`${replicas[index % replicas.length]?.url}${path}`)).status;
      }),
    );

  it('respond while Valkey is unavailable at startup, and share limits after it has started', async () => {
    assert.deepEqual(new Set(await statusesOf('/many', 20)), new Set([200]));
    await valkey.start();
    await untilShared(true);
    const statuses = await statusesOf('/few', 30);
    assert.equal(statuses.filter((status) => status === 200).length, 10);
    assert.equal(statuses.filter((status) => status === 429).length, 20);
  });

  it('fail no request while Valkey hangs, is killed and restarts, and log each change once', async () => {
    let running = true;
    const countByStatus = new Map<number, number>();
    const load = (async () => {
      while (running) {
        for (const status of await statusesOf('/many', 8))
          countByStatus.set(status, (countByStatus.get(status) ?? 0) + 1);
      }
    })();
    valkey.signal('SIGSTOP');
    await untilShared(false);
    valkey.signal('SIGCONT');
    await untilShared(true);
    await valkey.kill();
    await untilShared(false);
    await valkey.start();
    await untilShared(true);
    running = false;
    await load;
    assert.deepEqual([...countByStatus.keys()], [200]);
    const [unavailable, connected] = [
      'Valkey unavailable, rate limits per replica',
      'Valkey connected, rate limits shared',
    ];
    // The log is written a moment after the metrics have changed.
    await eventually(async () => {
      for (const { lines } of replicas) {
        const messages = lines
          .filter((line) => line.includes('Valkey'))
          .map((line) => String(JSON.parse(line).msg));
        assert.deepEqual(messages, [unavailable, connected, unavailable, connected, unavailable, connected]);
      }
    });
  });
});
