import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { countRequests, requestsBetween, type Track } from '../../scripts/lib/canary.ts';
import { type SteadyOutcome, startSteadyLoad } from '../bench/steady-load.ts';
import { setDemo, setValue } from './lib/helm-values.ts';
import { imagesIn, readInstallation } from './lib/installation.ts';
import { kubectl } from './lib/kubectl.ts';
import { podsOf, waitUntilDeleted } from './lib/rollouts.ts';
import { installRelease, type TestRelease } from './lib/test-release.ts';

const installation = readInstallation();
const { ingress, gateway } = installation;
const namespace = `${installation.namespace}-weights`;
const hostName = `${namespace}.e2e.example`;

describe('a canary of the gateway without a controller', {
  concurrency: 1,
  skip: gateway === undefined && 'E2E_GATEWAY is not set',
}, () => {
  let testRelease: TestRelease;

  before(async () => {
    const [gatewayNamespace, gatewayName] = gateway?.split('/') ?? [];
    testRelease = await installRelease({
      namespace,
      release: 'zerda',
      options: [
        ...setDemo(installation.images),
        ...setValue('gateway.ingress.enabled', false),
        ...setValue('gateway.shutdown', { preStopSeconds: 2, drainSeconds: 5, deadlineSeconds: 5 }),
        ...setValue('gateway.httpRoute', {
          enabled: true,
          hostnames: [hostName],
          parentRefs: [{ name: gatewayName, namespace: gatewayNamespace }],
        }),
        // All requests have one address here.
        ...setValue('gateway.env', { RATE_LIMIT_FACTOR: '100' }),
      ],
    });
  });

  after(() => testRelease?.remove());

  it('is rejected with a weight before its pods are ready', async () => {
    await assert.rejects(startCanary(10), /canary\.weight needs pods of the canary that are ready/);
  });

  it('receives no request of the HTTPRoute without a weight, and none fails when it starts', async () => {
    assert.deepEqual(failuresOf(await sendDuring(startCanary(0))), []);
    const { stable, canary } = await sharesOf(500);
    assert.deepEqual([stable, canary], [500, 0]);
  });

  it('receives 10 % of 2,000 requests with the weight 10, and no request fails', async (t) => {
    const before = await kubectl(['get', 'pods', '--namespace', namespace, '--output', 'name']);
    assert.deepEqual(failuresOf(await sendDuring(startCanary(10))), []);
    // Only the weights change, so no pod is replaced.
    assert.equal(await kubectl(['get', 'pods', '--namespace', namespace, '--output', 'name']), before);
    const { stable, canary } = await sharesOf(2000);
    t.diagnostic(`${((100 * canary) / 2000).toFixed(1)} % of 2,000 requests reached the canary`);
    assert.equal(stable + canary, 2000);
    assert.ok(Math.abs(canary - 200) <= 40, `${canary} of 2,000 requests`);
  });

  it('ends without a failed request', async () => {
    assert.deepEqual(failuresOf(await sendDuring(endCanary())), []);
  });

  /** Adds a pod with the other image, or changes its weight. */
  async function startCanary(weight: number): Promise<void> {
    const tag = imagesIn(installation.nextImages).get('gateway')?.tag;
    await upgrade(...setValue('gateway.canary', { replicas: 1, tag, weight }));
  }

  /** Removes the canary, and waits until its pod has drained. */
  async function endCanary(): Promise<void> {
    const pods = (await podsOf(namespace, 'zerda', 'gateway')).filter((pod) => pod.includes('-canary-'));
    assert.equal(pods.length, 1);
    await upgrade(...setValue('gateway.canary', { replicas: 0, tag: '', weight: 0 }));
    await waitUntilDeleted(namespace, pods);
  }

  function upgrade(...options: readonly string[]): Promise<void> {
    return testRelease.upgrade(['--reuse-values', ...options]);
  }

  /** Sends requests through the HTTPRoute; returns how many each version received. */
  async function sharesOf(count: number): Promise<Record<Track, number>> {
    const before = await countRequests(namespace, 'zerda', 'gateway');
    assert.deepEqual(failuresOf(await send(count)), []);
    const { stable, canary } = requestsBetween(before, await countRequests(namespace, 'zerda', 'gateway'));
    return { stable: stable.requests, canary: canary.requests };
  }
});

/** Sends GET requests on connections that are kept alive. */
async function send(count: number): Promise<SteadyOutcome[]> {
  const outcomes: SteadyOutcome[] = [];
  const [host = '', port] = ingress.split(':');
  const load = startSteadyLoad({
    host,
    port: Number(port),
    perSecond: 150,
    total: count,
    request: () => ({ path: '/api/users/1', headers: { host: hostName } }),
    onOutcome: (outcome) => void outcomes.push(outcome),
  });
  await load.ended;
  return outcomes;
}

/** Sends requests until the work has ended. @throws the error of the work */
async function sendDuring(work: Promise<void>): Promise<SteadyOutcome[]> {
  let ended = false;
  const ending = work.finally(() => {
    ended = true;
  });
  const outcomes: SteadyOutcome[] = [];
  while (!ended) outcomes.push(...(await send(100)));
  await ending;
  return outcomes;
}

function failuresOf(outcomes: readonly SteadyOutcome[]): string[] {
  return outcomes
    .filter(({ status }) => status !== 200)
    .map(({ status, error, text }) => `${status ?? error}: ${text}`);
}
