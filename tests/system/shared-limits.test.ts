import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import {
  describeOnValkey,
  prepareValkey,
  type TestValkey,
} from '../../packages/gateway/src/limits/testing-valkey.ts';
import { bundle } from '../../scripts/lib/bundler.ts';
import { freePorts } from '../../scripts/lib/ports.ts';
import { type ServiceProcess, startProcess } from '../../scripts/lib/service-process.ts';
import { bundleFile } from '../../scripts/lib/services.ts';
import { startRecordingUpstream } from './hostile/recording-upstream.ts';
import { eventually } from './lib/eventually.ts';

const routes = `
upstreams: { user-service: {} }
routes:
  - { path: /few, methods: [GET], upstream: user-service, limit: { requests: 10, per_seconds: 600 } }
  - { path: /many, methods: [GET], upstream: user-service, limit: { requests: 1000000, per_seconds: 600 } }
`;

interface Replica {
  readonly process: ServiceProcess;
  readonly url: string;
  readonly lines: readonly string[];
  /** Whether it counts with the other one, as its metrics say. */
  shares(): Promise<boolean>;
}

await describeOnValkey('two gateways that share their limits', () => {
  let folder: string;
  let valkey: TestValkey;
  let upstream: Awaited<ReturnType<typeof startRecordingUpstream>>;
  let replicas: readonly Replica[];

  async function startReplica(): Promise<Replica> {
    const [port = 0, management = 0] = await freePorts(2);
    const lines: string[] = [];
    const gateway = startProcess(
      {
        name: 'gateway',
        file: bundleFile('gateway'),
        env: {
          PATH: process.env.PATH,
          HOST: '127.0.0.1',
          PORT: String(port),
          MANAGEMENT_PORT: String(management),
          LOG_FORMAT: 'json',
          AUTH: 'off',
          ROUTES_FILE: join(folder, 'routes.yaml'),
          USER_SERVICE_URL: `http://127.0.0.1:${upstream.port}`,
          VALKEY_URL: valkey.url,
        },
        readyUrl: `http://127.0.0.1:${management}/readyz`,
      },
      (line) => lines.push(line),
    );
    await gateway.ready();
    return {
      process: gateway,
      url: `http://127.0.0.1:${port}`,
      lines,
      async shares() {
        const metrics = await (await fetch(`http://127.0.0.1:${management}/metrics`)).text();
        return /^rate_limits_shared 1$/m.test(metrics);
      },
    };
  }

  const untilShared = (wanted: boolean): Promise<void> =>
    eventually(async () => {
      for (const replica of replicas) assert.equal(await replica.shares(), wanted);
    });

  before(async () => {
    await bundle(['gateway']);
    folder = await mkdtemp(join(tmpdir(), 'zerda-limits-'));
    await writeFile(join(folder, 'routes.yaml'), routes);
    valkey = await prepareValkey();
    upstream = await startRecordingUpstream();
    // They start without it.
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
        const response = await fetch(`${replicas[index % replicas.length]?.url}${path}`);
        await response.arrayBuffer();
        return response.status;
      }),
    );

  it('serve while it is away from the start, and count together once it is there', async () => {
    assert.deepEqual(new Set(await statusesOf('/many', 20)), new Set([200]));
    await valkey.start();
    await untilShared(true);
    const statuses = await statusesOf('/few', 30);
    assert.equal(statuses.filter((status) => status === 200).length, 10);
    assert.equal(statuses.filter((status) => status === 429).length, 20);
  });

  it('fail no request while it hangs, is killed and comes back under load, and say each once', async () => {
    let running = true;
    const answered = new Map<number, number>();
    const load = (async () => {
      while (running) {
        for (const status of await statusesOf('/many', 8))
          answered.set(status, (answered.get(status) ?? 0) + 1);
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
    assert.deepEqual([...answered.keys()], [200]);
    const [away, there] = [
      'limits hold for this replica alone: Valkey is away',
      'limits are shared with other replicas: Valkey answers',
    ];
    // The log is written a moment after the metrics have changed.
    await eventually(async () => {
      for (const { lines } of replicas) {
        const said = lines
          .filter((line) => line.includes('Valkey'))
          .map((line) => String(JSON.parse(line).msg));
        assert.deepEqual(said, [away, there, away, there, away, there]);
      }
    });
  });
});
