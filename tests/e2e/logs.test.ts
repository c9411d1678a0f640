import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { type HttpResponse, sendRequest } from '../../packages/chassis/testing/http.ts';
import { describeIf } from '../../packages/chassis/testing/server.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { services } from '../../scripts/lib/services.ts';
import { findHistory } from '../../scripts/trace/find-history.ts';
import { formatHistory } from '../../scripts/trace/format-history.ts';
import { createJaeger } from '../../scripts/trace/jaeger.ts';
import { createVictoriaLogs } from '../../scripts/trace/victoria-logs.ts';
import { runScript } from '../kit/command.ts';
import { setDemo, setValue } from './lib/helm-values.ts';
import { readInstallation } from './lib/installation.ts';
import { installObservability, type Observability, type ObservabilityImages } from './lib/observability.ts';
import { findReachable, imageOf } from './lib/probe.ts';
import { installRelease, type TestRelease } from './lib/test-release.ts';

const installation = readInstallation();
const namespace = `${installation.namespace}-logs`;
const stores = `${installation.namespace}-observability`;
const hostName = `logs.${installation.namespace}.e2e.example`;
const { observability: images } = installation;

describeIf(
  images !== undefined,
  { title: 'the images of k8s/observability', required: 'REQUIRE_OBSERVABILITY' },
  'k8s/observability on a cluster',
  () => {
    const options = { namespace: stores, watched: namespace, images: images as ObservabilityImages };
    let observability: Observability;
    let testRelease: TestRelease;

    before(async () => {
      observability = await installObservability({ ...options, variant: 'observability' });
      testRelease = await installRelease({
        namespace,
        release: 'zerda',
        options: [
          ...setDemo(installation.images),
          ...setValue('global.tracing.endpoint', `http://collector.${stores}:4318`),
          ...setValue('global.tracing.ratio', 1),
          ...setValue('gateway.ingress.hosts', [hostName]),
          ...services.flatMap(({ name }) => setValue(`${name}.replicas`, 1)),
        ],
      });
      await eventually(async () => assert.equal((await send('/api/dashboard')).status, 200));
    });

    after(async () => {
      await testRelease?.remove();
      await observability?.remove();
    });

    function send(path: string, json?: unknown): Promise<HttpResponse> {
      return sendRequest(`http://${installation.ingress}${path}`, {
        headers: { host: hostName },
        ...(json !== undefined && { method: 'POST', json }),
      });
    }

    /** Waits until the stores have everything of a response that matches the patterns, for its correlation id and its trace id. */
    async function assertFound({ headers }: HttpResponse, patterns: readonly RegExp[]): Promise<void> {
      const stores = {
        logs: createVictoriaLogs(observability.logsUrl),
        traces: createJaeger(observability.tracesUrl),
      };
      for (const id of [headers['x-correlation-id'], headers.traceresponse?.split('-')[1]])
        await eventually(
          async () => {
            const text = formatHistory(await findHistory(id ?? '', stores));
            for (const pattern of patterns) assert.match(text, pattern);
          },
          `the lines and traces of ${id}`,
          90_000,
        );
    }

    /** Pattern of a service's line about a request, with the name of its pod. */
    const requestLine = (service: string, status: number) =>
      new RegExp(
        `^\\S+Z {2}${service} +info +request .* status=${status} .*\\.pod[._]name=zerda-${service}-`,
        'm',
      );

    /** Places an order until the response has this status: on a busy cluster, calls between services may time out. */
    function placeOrder(user_id: number, status: number): Promise<HttpResponse> {
      return eventually(async () => {
        const response = await send('/api/orders', { user_id, product: 'Desk', quantity: 1, total: 10 });
        assert.equal(response.status, status, response.text);
        return response;
      });
    }

    async function assertOrdersFound(): Promise<void> {
      const placed = await placeOrder(1, 201);
      const expected = [
        requestLine('gateway', 201),
        requestLine('order-service', 201),
        /^gateway +POST \/api\/orders +[\d.]+ ms$/m,
        /^order-service .*\bINSERT orders\b.* ms$/m,
        /^order-service +send zerda\.order\.created\.v1 .* link="append zerda\.order\.created\.v1"$/m,
      ];
      await assertFound(placed, expected);
      const env = { LOGS_URL: observability.logsUrl, TRACES_URL: observability.tracesUrl };
      const { code, stdout, stderr } = await runScript('trace', env, [placed.headers.traceresponse ?? '']);
      assert.equal(code, 0, stderr);
      for (const pattern of expected) assert.match(stdout, pattern);

      // The projection has no such user, so order-service calls user-service.
      const rejected = await placeOrder(999, 422);
      await assertFound(rejected, [
        requestLine('gateway', 422),
        requestLine('order-service', 422),
        requestLine('user-service', 404),
        /^user-service +GET \/api\/users\/\{id\} +[\d.]+ ms$/m,
      ]);
    }

    it('has the lines of all services and the traces of POST /api/orders, by either id', assertOrdersFound);

    it('has the lines of other containers as text', async () => {
      const query = 'k8s.container.name:="postgresql" and "database system is ready" | limit 1';
      await eventually(async () => {
        const { text } = await sendRequest(
          `${observability.logsUrl}/select/logsql/query?query=${encodeURIComponent(query)}`,
        );
        assert.match(text, new RegExp(`"k8s\\.namespace\\.name":"${namespace}"`));
      });
    });

    it('sends lines that were written while the store was unavailable', async () => {
      await observability.scaleLogStore(0);
      const response = await send('/api/users/1');
      await observability.scaleLogStore(1);
      await assertFound(response, [requestLine('gateway', 200)]);
    });

    it('allows no other pods to send or to read', async () => {
      const image = await imageOf(namespace, 'zerda-gateway');
      const denied = ['collector:4318', 'victoria-logs:9428', 'jaeger:4318', 'jaeger:16686'].map((target) =>
        target.replace(':', `.${stores}.svc.cluster.local:`),
      );
      const allowed = 'kube-dns.kube-system.svc.cluster.local:53';
      const from = { namespace: installation.monitoring };
      assert.deepEqual(await findReachable(image, [allowed, ...denied], from), [allowed]);
    });

    it('has the same with the agent of VictoriaLogs', async () => {
      await observability.remove();
      observability = await installObservability({ ...options, variant: 'observability-vlagent' });
      await assertOrdersFound();
    });
  },
);
