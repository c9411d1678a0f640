import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { bundle } from '../../scripts/lib/bundler.ts';
import { freePorts } from '../../scripts/lib/ports.ts';
import { type ServiceProcess, startProcess } from '../../scripts/lib/service-process.ts';
import { bundleFile } from '../../scripts/lib/services.ts';
import { type HostileCase, hostileCases } from './hostile/cases.ts';
import { speak } from './hostile/raw-client.ts';
import {
  type Recorded,
  type RecordingUpstream,
  startRecordingUpstream,
} from './hostile/recording-upstream.ts';

const routes = `
upstreams: { user-service: {} }
defaults: { body_limit_bytes: 65536, idle_timeout_ms: 400 }
routes:
  - { path: /api/users, methods: [POST], upstream: user-service }
  - { path: '/api/users/{id}', methods: [GET], upstream: user-service }
aggregates:
  - { path: /api/dashboard, parts: { a: { upstream: user-service, path: /a } }, answer: { a: { from: a.data } } }
`;

/** Headers that a service gets from the gateway alone, whatever the client wrote. */
const written = new Map([
  ['x-forwarded-for', /^127\.0\.0\.1$/],
  ['forwarded', /^for=127\.0\.0\.1;(host=[^;]+;)?proto=http$/],
  ['x-forwarded-proto', /^http$/],
  ['x-correlation-id', /^[A-Za-z0-9._-]{1,64}$/],
  ['x-request-timeout-ms', /^\d{1,5}$/],
  ['host', /^127\.0\.0\.1:\d+$/],
]);

/** Headers that no service gets. */
const never =
  /^(x-user|remote-|x-remote|x-auth|x-consumer|x-real-ip|true-client|x-ssl|x-client-cert|x-http-method|x-method|x-original|x-rewrite|x-forwarded-(user|groups|port|prefix|client)|.*_|keep-alive|proxy-|te$|trailer|upgrade|http2-settings)/;

describe('the gateway against hostile input', { concurrency: 24 }, () => {
  let folder: string;
  let upstream: RecordingUpstream;
  let gateway: ServiceProcess;
  let port: number;
  let managementPort: number;
  const faults: string[] = [];

  before(async () => {
    await bundle(['gateway']);
    folder = await mkdtemp(join(tmpdir(), 'zerda-hostile-'));
    await writeFile(join(folder, 'routes.yaml'), routes);
    upstream = await startRecordingUpstream();
    const [free = 0, management = 0] = await freePorts(2);
    port = free;
    managementPort = management;
    gateway = startProcess(
      {
        name: 'gateway',
        file: bundleFile('gateway'),
        env: {
          ...process.env,
          NODE_ENV: 'production',
          HOST: '127.0.0.1',
          PORT: String(port),
          MANAGEMENT_PORT: String(management),
          LOG_FORMAT: 'json',
          AUTH: 'off',
          ALLOW_UNAUTHENTICATED: 'true',
          ROUTES_FILE: join(folder, 'routes.yaml'),
          USER_SERVICE_URL: `http://127.0.0.1:${upstream.port}`,
        },
        readyUrl: `http://127.0.0.1:${management}/readyz`,
      },
      (line) => {
        if (/"level":"(error|fatal)"|^[^{]/.test(line)) faults.push(line);
      },
    );
    await gateway.ready();
  });
  after(async () => {
    await gateway.stop();
    await upstream.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** What has reached the service of one case. */
  const reached = (id: number): Recorded[] =>
    upstream.requests.filter(({ line }) => line.includes(String(id)));

  hostileCases.forEach(
    ({ title, steps, answers, passes, mayPass = '', patienceMs = 3000 }: HostileCase, index) => {
      it(title, async () => {
        const id = 1_000_000_000 + index * 1000;
        const named = (text: string): string => text.replaceAll('{id}', String(id));
        const { statuses, text, closed } = await speak({
          port,
          steps: steps.map((step) => {
            if (typeof step === 'string') return named(step);
            return typeof step === 'object' && 'bytes' in step ? { bytes: named(step.bytes) } : step;
          }),
          answers: answers.length,
          patienceMs,
        });
        const seen = `${JSON.stringify(text.slice(0, 300))}${closed ? ', closed' : ''}`;
        // Bytes that come after the parser has given up reset the connection, and that can take its 400 away.
        const reset = closed && text === '' && (answers[0]?.includes(400) ?? false);
        assert.ok(reset || statuses.length === answers.length, seen);
        (reset ? [] : answers).forEach((allowed, nth) => {
          assert.ok(allowed.includes(statuses[nth] ?? 0), `${statuses[nth]} is none of ${allowed}: ${seen}`);
        });

        const got = reached(id);
        assert.deepEqual(
          got
            .map(({ line, body }) => (body === '' ? line : `${line} ${body}`))
            .filter((request) => request !== named(mayPass))
            .sort(),
          passes.map(named).sort(),
        );
        for (const { headers } of got) {
          for (const [name, value] of headers) {
            assert.doesNotMatch(name, never);
            const form = written.get(name);
            if (form !== undefined) assert.match(value, form, name);
          }
          for (const name of written.keys())
            assert.equal(headers.filter(([key]) => key === name).length, 1, `${name} once`);
        }

        const healthy = await fetch(`http://127.0.0.1:${port}/api/users/${id + 999}`, {
          headers: { connection: 'close' },
        });
        assert.equal(healthy.status, 200, 'it serves the next client');
      });
    },
  );

  it('answers what cannot be parsed with a problem, and counts it', async () => {
    for (const [sent, status, problem] of [
      [`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`, 431, 'too-many-headers'],
      ['GET /\u00c3\u00bc HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'invalid-request'],
      ['GET / HTTP/1.1\r\nHost: a\r\nBad Header: 1\r\n\r\n', 400, 'invalid-request'],
      ['HELLO', 400, 'invalid-request'],
    ] as const) {
      const { text } = await speak({ port, steps: [sent, 'FIN'], answers: 1, patienceMs: 3000 });
      assert.match(
        text,
        new RegExp(
          `^HTTP/1\\.1 ${status} [\\s\\S]*application/problem\\+json[\\s\\S]*"/problems/${problem}"`,
        ),
        sent.slice(0, 40),
      );
    }
    const metrics = await (await fetch(`http://127.0.0.1:${managementPort}/metrics`)).text();
    for (const status of [400, 431])
      assert.match(metrics, new RegExp(`route="malformed",http_response_status_code="${status}"`));
  });

  it('leaves nothing behind: no request of nobody, nothing that is no request, no fault in the log', () => {
    assert.deepEqual(upstream.faults, []);
    assert.deepEqual(
      upstream.requests.filter(
        ({ line }) => line.includes('smuggled') || !/ \/api\/users[/?].*1\d{9}/.test(line),
      ),
      [],
    );
    assert.deepEqual(faults, []);
    assert.ok(hostileCases.length >= 200, String(hostileCases.length));
    assert.equal(new Set(hostileCases.map(({ title }) => title)).size, hostileCases.length);
  });
});
