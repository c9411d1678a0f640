import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { bundleServices } from '../kit/bundle-services.ts';
import { type GatewayProcess, startGateway } from '../kit/gateway.ts';
import { type HostileCase, hostileCases } from './hostile/cases.ts';
import { sendRaw } from './hostile/raw-client.ts';
import {
  type RecordedRequest,
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

/** Headers that the gateway sets, whatever the client sends, with the format of their values. */
const gatewayHeaders = new Map([
  ['x-forwarded-for', /^127\.0\.0\.1$/],
  ['forwarded', /^for=127\.0\.0\.1;(host=[^;]+;)?proto=http$/],
  ['x-forwarded-proto', /^http$/],
  ['x-correlation-id', /^[A-Za-z0-9._-]{1,64}$/],
  ['x-request-timeout-ms', /^\d{1,5}$/],
  ['traceparent', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/],
  ['host', /^127\.0\.0\.1:\d+$/],
]);

/** Headers that the gateway never forwards. */
const forbiddenHeaders =
  /^(x-user|remote-|x-remote|x-auth|x-consumer|x-real-ip|true-client|x-ssl|x-client-cert|x-http-method|x-method|x-original|x-rewrite|x-forwarded-(user|groups|port|prefix|client)|.*_|keep-alive|proxy-|te$|trailer|upgrade|http2-settings)/;

describe('the gateway against hostile input', { concurrency: 24 }, () => {
  let folder: string;
  let upstream: RecordingUpstream;
  let gateway: GatewayProcess;
  let port: number;

  before(async () => {
    await bundleServices();
    folder = await mkdtemp(join(tmpdir(), 'zerda-hostile-'));
    await writeFile(join(folder, 'routes.yaml'), routes);
    upstream = await startRecordingUpstream();
    gateway = await startGateway({
      ...process.env,
      NODE_ENV: 'production',
      ALLOW_UNAUTHENTICATED: 'true',
      ROUTES_FILE: join(folder, 'routes.yaml'),
      USER_SERVICE_URL: `http://127.0.0.1:${upstream.port}`,
    });
    port = gateway.port;
    await gateway.process.ready();
  });
  after(async () => {
    await gateway.process.stop();
    await upstream.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Returns the requests of a case that reached the service. */
  const receivedRequests = (id: number): RecordedRequest[] =>
    upstream.requests.filter(({ line }) => line.includes(String(id)));

  hostileCases.forEach(
    ({ title, steps, responses, forwarded, mayForward = '', timeoutMs = 3000 }: HostileCase, index) => {
      it(title, async () => {
        const id = 1_000_000_000 + index * 1000;
        const replaceId = (text: string): string => text.replaceAll('{id}', String(id));
        const { statuses, text, closed } = await sendRaw({
          port,
          steps: steps.map((step) => {
            if (typeof step === 'string') return replaceId(step);
            return typeof step === 'object' && 'bytes' in step ? { bytes: replaceId(step.bytes) } : step;
          }),
          responses: responses.length,
          timeoutMs,
        });
        const details = `${JSON.stringify(text.slice(0, 300))}${closed ? ', closed' : ''}`;
        // Bytes that arrive after the gateway has closed the connection cause a TCP reset, which can discard the 400.
        const reset = closed && text === '' && (responses[0]?.includes(400) ?? false);
        assert.ok(reset || statuses.length === responses.length, details);
        (reset ? [] : responses).forEach((allowed, position) => {
          assert.ok(
            allowed.includes(statuses[position] ?? 0),
            `${statuses[position]} is none of ${allowed}: ${details}`,
          );
        });

        const received = receivedRequests(id);
        assert.deepEqual(
          received
            .map(({ line, body }) => (body === '' ? line : `${line} ${body}`))
            .filter((request) => request !== replaceId(mayForward))
            .sort(),
          forwarded.map(replaceId).sort(),
        );
        for (const { headers } of received) {
          for (const [name, value] of headers) {
            assert.doesNotMatch(name, forbiddenHeaders);
            const format = gatewayHeaders.get(name);
            if (format !== undefined) assert.match(value, format, name);
          }
          for (const name of gatewayHeaders.keys())
            assert.equal(headers.filter(([key]) => key === name).length, 1, `${name} once`);
        }

        const healthy = await sendRequest(`http://127.0.0.1:${port}/api/users/${id + 999}`);
        assert.equal(healthy.status, 200, 'the gateway serves the next client');
      });
    },
  );

  it('returns a problem for requests that cannot be parsed, and counts them', async () => {
    for (const [sent, status, problem] of [
      [`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`, 431, 'too-many-headers'],
      ['GET /\u00c3\u00bc HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'invalid-request'],
      ['GET / HTTP/1.1\r\nHost: a\r\nBad Header: 1\r\n\r\n', 400, 'invalid-request'],
      ['HELLO', 400, 'invalid-request'],
    ] as const) {
      const { text } = await sendRaw({ port, steps: [sent, 'FIN'], responses: 1, timeoutMs: 3000 });
      assert.match(
        text,
        new RegExp(
          `^HTTP/1\\.1 ${status} [\\s\\S]*application/problem\\+json[\\s\\S]*"/problems/${problem}"`,
        ),
        sent.slice(0, 40),
      );
    }
    const { text: metrics } = await sendRequest(`${gateway.managementUrl}/metrics`);
    for (const status of [400, 431])
      assert.match(metrics, new RegExp(`route="malformed",http_response_status_code="${status}"`));
  });

  it('forwards no smuggled or malformed request and logs no error', () => {
    assert.deepEqual(upstream.faults, []);
    assert.deepEqual(
      upstream.requests.filter(
        ({ line }) => line.includes('smuggled') || !/ \/api\/users[/?].*1\d{9}/.test(line),
      ),
      [],
    );
    const errorLines = gateway.lines.filter((line) => /"level":"(error|fatal)"|^[^{]/.test(line));
    assert.deepEqual(errorLines, []);
    assert.ok(hostileCases.length >= 200, String(hostileCases.length));
    assert.equal(new Set(hostileCases.map(({ title }) => title)).size, hostileCases.length);
  });
});
