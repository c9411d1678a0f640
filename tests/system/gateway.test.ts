import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { freePorts } from '../../packages/chassis/testing/port.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { bundleServices } from '../kit/bundle-services.ts';
import { runScript, startScript } from '../kit/command.ts';
import { type GatewayProcess, startGateway } from '../kit/gateway.ts';
import { readSample } from '../kit/metrics.ts';

const size = 100 * 1024 * 1024;
/** Maximum growth of the gateway's memory while it forwards `size` bytes. Allows for uncollected garbage. */
const maxGrowthBytes = 0.7 * size;
/** Maximum bytes in flight while the receiver does not read: kernel buffers of three processes. */
const maxInFlightBytes = 0.5 * size;
const piece = Buffer.alloc(64 * 1024);

/** A service that is not part of zerda. */
interface Billing {
  readonly server: Server;
  /** Bytes of the large response written so far. */
  sent: number;
  /** Called before the service reads a request body. */
  beforeReading: () => Promise<void>;
}

/** Creates a service that returns 100 MiB for `/bills/large`, and the length of the body for a POST. */
function startBilling(): Billing {
  const server = createServer(async (incoming, response) => {
    if (incoming.method === 'POST') {
      let received = 0;
      await billing.beforeReading();
      for await (const chunk of incoming) received += chunk.length;
      response.end(String(received));
      return;
    }
    const length = incoming.url === '/bills/large' ? size : 2;
    const closed = once(response, 'close');
    for (billing.sent = 0; billing.sent < length && !response.destroyed; billing.sent += piece.length) {
      if (!response.write(piece.subarray(0, length - billing.sent)))
        await Promise.race([once(response, 'drain'), closed]);
    }
    response.end();
  });
  const billing: Billing = { server, sent: 0, beforeReading: async () => undefined };
  return billing;
}

/** Waits until a number is not 0 and has not changed for half a second, and returns it. */
async function waitUntilStable(read: () => number): Promise<number> {
  let last = read();
  for (let unchanged = 0; unchanged < 10; unchanged += 1) {
    await wait(50);
    if (read() !== last || last === 0) unchanged = 0;
    last = read();
  }
  return last;
}

describe('the gateway without the other services, in front of another service', () => {
  let folder: string;
  let billing: Billing;
  let gateway: GatewayProcess;
  let env: NodeJS.ProcessEnv;
  let url: string;
  let managementUrl: string;

  before(async () => {
    await bundleServices();
    folder = await mkdtemp(join(tmpdir(), 'zerda-gateway-'));
    billing = startBilling();
    await new Promise<void>((resolve) => billing.server.listen(0, '127.0.0.1', resolve));
    const routes = join(folder, 'routes.yaml');
    await writeFile(
      routes,
      `upstreams: { billing: {} }
defaults: { body_limit_bytes: ${2 * size} }
routes: [{ path: '/bills/*', methods: [GET, POST], upstream: billing }]
`,
    );
    env = {
      ROUTES_FILE: routes,
      BILLING_SERVICE_URL: `http://127.0.0.1:${(billing.server.address() as AddressInfo).port}`,
      LOG_LEVEL: 'warn',
      NODE_OPTIONS: '--max-old-space-size=64',
    };
    gateway = await startGateway(env);
    ({ url, managementUrl } = gateway);
    await gateway.process.ready();
  });

  after(async () => {
    await gateway.process.stop();
    billing.server.closeAllConnections();
    await new Promise((resolve) => billing.server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  /** Returns the gateway's resident memory in bytes. */
  const memory = (): Promise<number> => readSample(managementUrl, 'process_resident_memory_bytes');

  /** Returns a check that fails if the gateway's memory has grown by more than the limit since this call. */
  async function watchMemory(): Promise<() => Promise<void>> {
    const before = await memory();
    return async () => {
      const grown = (await memory()) - before;
      assert.ok(grown < maxGrowthBytes, `grew by ${(grown / 2 ** 20).toFixed(0)} MiB`);
    };
  }

  it('forwards only the paths of its routes', async () => {
    assert.equal((await sendRequest(`${url}/bills/7`)).status, 200);
    assert.equal((await sendRequest(`${url}/api/users`)).status, 404);
  });

  it('does not buffer 100 MiB for a client that does not read, and forwards all when it does', async () => {
    const expectNoGrowth = await watchMemory();
    const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
      request(`${url}/bills/large`, { agent: false }, resolve).on('error', reject).end();
    });
    const inFlight = await waitUntilStable(() => billing.sent);
    assert.ok(inFlight < maxInFlightBytes, `${(inFlight / 2 ** 20).toFixed(0)} MiB are in flight`);
    await expectNoGrowth();
    let received = 0;
    for await (const chunk of incoming) {
      received += chunk.length;
      if (received % (10 * 1024 * 1024) < chunk.length) await expectNoGrowth();
    }
    assert.equal(received, size);
    await expectNoGrowth();
  });

  it('does not buffer 100 MiB for a service that does not read, and forwards all when it does', async () => {
    const expectNoGrowth = await watchMemory();
    let startReading = (): void => undefined;
    const readingStarted = new Promise<void>((resolve) => {
      startReading = resolve;
    });
    billing.beforeReading = () => readingStarted;
    const outgoing = request(`${url}/bills/new`, { method: 'POST', agent: false });
    const responseText = new Promise<string>((resolve, reject) => {
      outgoing.on('response', (incoming) => text(incoming).then(resolve, reject)).on('error', reject);
    });
    let sent = 0;
    const send = async (): Promise<void> => {
      for (; sent < size; sent += piece.length) {
        if (!outgoing.write(piece)) await once(outgoing, 'drain');
        if (sent % (10 * 1024 * 1024) === 0) await expectNoGrowth();
      }
      outgoing.end();
    };
    const sending = send();
    const inFlight = await waitUntilStable(() => sent);
    assert.ok(inFlight < maxInFlightBytes, `${(inFlight / 2 ** 20).toFixed(0)} MiB are in flight`);
    await expectNoGrowth();
    startReading();
    await sending;
    assert.equal(await responseText, String(size));
    await expectNoGrowth();
  });

  it('is ready in less than 1 s', async () => {
    const times: number[] = [];
    for (let round = 0; round < 10 && !times.some((ms) => ms < 1000); round += 1) {
      const startedAt = performance.now();
      const { process: started } = await startGateway(env);
      await started.ready();
      times.push(performance.now() - startedAt);
      assert.equal(await started.stop(), 0);
    }
    // One fast start is enough: the others may have waited for a CPU.
    assert.ok(Math.min(...times) < 1000, `${times.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  });

  it('exits with code 78 and reports every error in routes.yaml with its line', async () => {
    const broken = join(folder, 'broken.yaml');
    await writeFile(
      broken,
      'upstreams: {}\nroutes:\n  - path: bills\n    methods: [GET]\n    upstream: billing\n',
    );
    const { process: started } = await startGateway({ ...env, ROUTES_FILE: broken });
    assert.equal(await started.exited, 78);
    assert.match(started.lastLines.join('\n'), /broken\.yaml:3 routes\.0\.path must be a path/);
    assert.match(
      started.lastLines.join('\n'),
      /broken\.yaml:5 routes\.0\.upstream names an unknown upstream: billing/,
    );
  });
});

describe('npm run gateway', { skip: process.platform === 'win32' }, () => {
  it('runs the gateway with the variables of the environment', async () => {
    const [port, managementPort] = await freePorts(2);
    const started = startScript('gateway', {
      PORT: String(port),
      MANAGEMENT_PORT: String(managementPort),
      USER_SERVICE_URL: 'http://127.0.0.1:9',
      AUTH: 'off',
      LOG_FORMAT: 'json',
    });
    try {
      await started.line(/^gateway is ready on http:\/\/127\.0\.0\.1:\d+/);
      const response = await eventually(() => sendRequest(`http://127.0.0.1:${port}/api/users/1`));
      assert.deepEqual([response.status, response.body.type], [502, '/problems/upstream-failed']);
    } finally {
      started.kill('SIGTERM');
    }
    assert.equal(await started.exited, 0);
  });
});

describe('npm run routes', () => {
  it('prints the routes with the settings of the environment', async () => {
    const { code, stdout } = await runScript('routes', {
      ORDER_SERVICE_URL: 'http://orders.example:8080',
      UPSTREAM_TIMEOUT_MS: '1234',
    });
    assert.equal(code, 0);
    assert.match(stdout, /order-service +http:\/\/orders\.example:8080 +health/);
    assert.match(stdout, /GET PUT DELETE +\/api\/users\/\{id\} +-> user-service +1234 ms \(slow 617\)/);
    assert.match(stdout, /GET +\/api\/dashboard/);
  });

  it('exits with code 78 and an error when the routes file does not exist', async () => {
    const { code, stderr } = await runScript('routes', { ROUTES_FILE: '/nowhere/routes.yaml' });
    assert.equal(code, 78);
    assert.match(stderr, /\/nowhere\/routes\.yaml/);
  });
});
