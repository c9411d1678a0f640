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
import { bundle } from '../../scripts/lib/bundler.ts';
import { freePorts } from '../../scripts/lib/ports.ts';
import { type ServiceProcess, startProcess } from '../../scripts/lib/service-process.ts';
import { bundleFile } from '../../scripts/lib/services.ts';
import { runScript, startScript } from './lib/command.ts';
import { eventually } from './lib/eventually.ts';
import { call, readSample } from './lib/http.ts';

const size = 100 * 1024 * 1024;
/** Bytes that a process may grow by while it passes that many on: garbage that is not collected yet, but never all of them. */
const grownAtMost = 0.7 * size;
/** Bytes that are on their way at most while whoever they are for does not read: buffers of the kernel's, of three processes. */
const underWayAtMost = 0.5 * size;
const piece = Buffer.alloc(64 * 1024);

/** A service of somebody else's. */
interface Billing {
  readonly server: Server;
  /** Bytes of the large answer that it has got rid of. */
  sent: number;
  /** What it does before it reads a request. */
  beforeReading: () => Promise<void>;
}

/** Answers as much as its path says, and counts what it is sent. */
function startBilling(): Billing {
  const server = createServer(async (incoming, response) => {
    if (incoming.method === 'POST') {
      let received = 0;
      await billing.beforeReading();
      for await (const chunk of incoming) received += chunk.length;
      response.end(String(received));
      return;
    }
    const wanted = incoming.url === '/bills/large' ? size : 2;
    for (billing.sent = 0; billing.sent < wanted && !response.destroyed; billing.sent += piece.length) {
      if (!response.write(piece.subarray(0, wanted - billing.sent)))
        await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
    }
    response.end();
  });
  const billing: Billing = { server, sent: 0, beforeReading: async () => undefined };
  return billing;
}

/** Waits until a number has not changed for half a second, and returns it. */
async function standingStill(read: () => number): Promise<number> {
  let seen = read();
  for (let same = 0; same < 10; same += 1) {
    await wait(50);
    if (read() !== seen || seen === 0) same = 0;
    seen = read();
  }
  return seen;
}

describe('the gateway by itself, in front of a service that it never heard of', () => {
  let folder: string;
  let billing: Billing;
  let gateway: ServiceProcess;
  let env: NodeJS.ProcessEnv;
  let url: string;
  let managementUrl: string;

  before(async () => {
    await bundle(['gateway']);
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
    const [port, managementPort] = await freePorts(2);
    url = `http://127.0.0.1:${port}`;
    managementUrl = `http://127.0.0.1:${managementPort}`;
    env = {
      PATH: process.env.PATH,
      HOST: '127.0.0.1',
      PORT: String(port),
      MANAGEMENT_PORT: String(managementPort),
      ROUTES_FILE: routes,
      BILLING_SERVICE_URL: `http://127.0.0.1:${(billing.server.address() as AddressInfo).port}`,
      LOG_LEVEL: 'warn',
      AUTH: 'off',
      NODE_OPTIONS: '--max-old-space-size=64',
    };
    gateway = startProcess(
      { name: 'gateway', file: bundleFile('gateway'), env, readyUrl: `${managementUrl}/readyz` },
      () => undefined,
    );
    await gateway.ready();
  });

  after(async () => {
    await gateway.stop();
    billing.server.closeAllConnections();
    await new Promise((resolve) => billing.server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  /** Bytes of the gateway's memory that are not the operating system's to take back. */
  const memory = (): Promise<number> => readSample(managementUrl, 'process_resident_memory_bytes');

  /** Fails when the gateway has grown by what it passes on; to be asked while it does, and afterwards. */
  async function watchMemory(): Promise<() => Promise<void>> {
    const before = await memory();
    return async () => {
      const grown = (await memory()) - before;
      assert.ok(grown < grownAtMost, `grew by ${(grown / 2 ** 20).toFixed(0)} MiB`);
    };
  }

  it('forwards what its table says and nothing else', async () => {
    assert.equal((await call(`${url}/bills/7`)).status, 200);
    assert.equal((await call(`${url}/api/users`)).status, 404);
  });

  it('does not take on 100 MiB for a client that does not read, and passes them on when it does', async () => {
    const expectNoGrowth = await watchMemory();
    const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
      request(`${url}/bills/large`, { agent: false }, resolve).on('error', reject).end();
    });
    const underWay = await standingStill(() => billing.sent);
    assert.ok(underWay < underWayAtMost, `${(underWay / 2 ** 20).toFixed(0)} MiB are on their way`);
    await expectNoGrowth();
    let received = 0;
    for await (const chunk of incoming) {
      received += chunk.length;
      if (received % (10 * 1024 * 1024) < chunk.length) await expectNoGrowth();
    }
    assert.equal(received, size);
    await expectNoGrowth();
  });

  it('does not take on 100 MiB for a service that does not read, and passes them on when it does', async () => {
    const expectNoGrowth = await watchMemory();
    let read = (): void => undefined;
    const reads = new Promise<void>((resolve) => {
      read = resolve;
    });
    billing.beforeReading = () => reads;
    const outgoing = request(`${url}/bills/new`, { method: 'POST', agent: false });
    const answer = new Promise<string>((resolve, reject) => {
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
    const underWay = await standingStill(() => sent);
    assert.ok(underWay < underWayAtMost, `${(underWay / 2 ** 20).toFixed(0)} MiB are on their way`);
    await expectNoGrowth();
    read();
    await sending;
    assert.equal(await answer, String(size));
    await expectNoGrowth();
  });

  it('is ready in less than a second', async () => {
    const times: number[] = [];
    for (let round = 0; round < 10 && !times.some((ms) => ms < 1000); round += 1) {
      const [port, management] = await freePorts(2);
      const begun = performance.now();
      const started = startProcess(
        {
          name: 'gateway',
          file: bundleFile('gateway'),
          env: { ...env, PORT: String(port), MANAGEMENT_PORT: String(management) },
          readyUrl: `http://127.0.0.1:${management}/readyz`,
        },
        () => undefined,
      );
      await started.ready();
      times.push(performance.now() - begun);
      assert.equal(await started.stop(), 0);
    }
    // The best of some: the others may have waited for a processor.
    assert.ok(Math.min(...times) < 1000, `${times.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  });

  it('names every error of its table with the line, and ends with exit code 78', async () => {
    const broken = join(folder, 'broken.yaml');
    await writeFile(
      broken,
      'upstreams: {}\nroutes:\n  - path: bills\n    methods: [GET]\n    upstream: billing\n',
    );
    const [port, managementPort] = await freePorts(2);
    const started = startProcess(
      {
        name: 'gateway',
        file: bundleFile('gateway'),
        env: { ...env, ROUTES_FILE: broken, PORT: String(port), MANAGEMENT_PORT: String(managementPort) },
        readyUrl: url,
      },
      () => undefined,
    );
    assert.equal(await started.exited, 78);
    assert.match(started.lastLines.join('\n'), /broken\.yaml:3 routes\.0\.path must be a path/);
    assert.match(
      started.lastLines.join('\n'),
      /broken\.yaml:5 routes\.0\.upstream names no upstream: billing/,
    );
  });
});

describe('npm run gateway', { skip: process.platform === 'win32' }, () => {
  it('runs the gateway with its own variables', async () => {
    const [port, managementPort] = await freePorts(2);
    const started = startScript('gateway', {
      PORT: String(port),
      MANAGEMENT_PORT: String(managementPort),
      USER_SERVICE_URL: 'http://127.0.0.1:9',
      AUTH: 'off',
      LOG_FORMAT: 'json',
    });
    try {
      await started.line(/^gateway on http:\/\/127\.0\.0\.1:\d+/);
      const answer = await eventually(() => call(`http://127.0.0.1:${port}/api/users/1`));
      assert.deepEqual([answer.status, answer.body.type], [502, '/problems/upstream-failed']);
    } finally {
      started.kill('SIGTERM');
    }
    assert.equal(await started.exited, 0);
  });
});

describe('npm run routes', () => {
  it('prints the table that its environment puts in force', async () => {
    const { code, stdout } = await runScript('routes', {
      ORDER_SERVICE_URL: 'http://orders.example:8080',
      UPSTREAM_TIMEOUT_MS: '1234',
    });
    assert.equal(code, 0);
    assert.match(stdout, /order-service +http:\/\/orders\.example:8080 +health/);
    assert.match(stdout, /GET PUT DELETE +\/api\/users\/\{id\} +-> user-service +1234 ms \(slow 617\)/);
    assert.match(stdout, /GET +\/api\/dashboard/);
  });

  it('tells what is wrong with a table, and ends with exit code 78', async () => {
    const { code, stderr } = await runScript('routes', { ROUTES_FILE: '/nowhere/routes.yaml' });
    assert.equal(code, 78);
    assert.match(stderr, /\/nowhere\/routes\.yaml/);
  });
});
