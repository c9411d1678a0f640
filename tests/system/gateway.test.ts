import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { bundle } from '../../scripts/lib/bundler.ts';
import { freePorts } from '../../scripts/lib/ports.ts';
import { type ServiceProcess, startProcess } from '../../scripts/lib/service-process.ts';
import { bundleFile } from '../../scripts/lib/services.ts';
import { runScript, startScript } from './lib/command.ts';
import { eventually } from './lib/eventually.ts';
import { call } from './lib/http.ts';

const size = 100 * 1024 * 1024;
/** Bytes that a process may grow by while it passes that many on: garbage that is not collected yet, but never all of them. */
const grownAtMost = 0.7 * size;

/** A service of somebody else: answers as much as its path says, and counts what it is sent. */
function startBilling(): Server {
  const piece = Buffer.alloc(64 * 1024);
  return createServer(async (incoming, response) => {
    if (incoming.method === 'POST') {
      let received = 0;
      for await (const chunk of incoming) {
        received += chunk.length;
        // Slower than the client sends: what it sends must not pile up in between.
        if (received % (8 * 1024 * 1024) < chunk.length) await wait(5);
      }
      response.end(String(received));
      return;
    }
    const wanted = incoming.url === '/bills/large' ? size : 2;
    for (let sent = 0; sent < wanted && !response.destroyed; sent += piece.length) {
      if (!response.write(piece.subarray(0, wanted - sent)))
        await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
    }
    response.end();
  });
}

describe('the gateway by itself, in front of a service that it never heard of', () => {
  let folder: string;
  let billing: Server;
  let gateway: ServiceProcess;
  let env: NodeJS.ProcessEnv;
  let url: string;
  let managementUrl: string;

  before(async () => {
    await bundle(['gateway']);
    folder = await mkdtemp(join(tmpdir(), 'zerda-gateway-'));
    billing = startBilling();
    await new Promise<void>((resolve) => billing.listen(0, '127.0.0.1', resolve));
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
      BILLING_SERVICE_URL: `http://127.0.0.1:${(billing.address() as AddressInfo).port}`,
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
    billing.closeAllConnections();
    await new Promise((resolve) => billing.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  /** Bytes of the gateway's memory that are not the operating system's to take back. */
  async function memory(): Promise<number> {
    const { text } = await call(`${managementUrl}/metrics`);
    return Number(/^process_resident_memory_bytes (\S+)$/m.exec(text)?.[1]);
  }

  it('forwards what its table says and nothing else', async () => {
    assert.equal((await call(`${url}/bills/7`)).status, 200);
    assert.equal((await call(`${url}/api/users`)).status, 404);
  });

  it('passes 100 MiB to a client that reads slowly, without keeping them', async () => {
    const before = await memory();
    let most = 0;
    let received = 0;
    const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
      request(`${url}/bills/large`, { agent: false }, resolve).on('error', reject).end();
    });
    for await (const chunk of incoming) {
      received += chunk.length;
      if (received % (10 * 1024 * 1024) < chunk.length) {
        await wait(10);
        most = Math.max(most, await memory());
      }
    }
    assert.equal(received, size);
    assert.ok(most - before < grownAtMost, `grew by ${((most - before) / 2 ** 20).toFixed(0)} MiB`);
  });

  it('passes 100 MiB to a service that reads slowly, without keeping them', async () => {
    const before = await memory();
    let most = 0;
    const piece = Buffer.alloc(64 * 1024);
    const answer = await new Promise<string>((resolve, reject) => {
      const outgoing = request(`${url}/bills/new`, { method: 'POST', agent: false }, async (incoming) => {
        let text = '';
        for await (const chunk of incoming) text += chunk;
        resolve(text);
      });
      outgoing.on('error', reject);
      const send = async (): Promise<void> => {
        for (let sent = 0; sent < size; sent += piece.length) {
          if (!outgoing.write(piece)) await new Promise((drained) => outgoing.once('drain', drained));
          if (sent % (10 * 1024 * 1024) === 0) most = Math.max(most, await memory());
        }
        outgoing.end();
      };
      send().catch(reject);
    });
    assert.equal(answer, String(size));
    assert.ok(most - before < grownAtMost, `grew by ${((most - before) / 2 ** 20).toFixed(0)} MiB`);
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
