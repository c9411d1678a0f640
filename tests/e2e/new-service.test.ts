import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { freePorts } from '../../packages/chassis/testing/port.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { copyRepository, type RepositoryCopy } from '../kit/repository-copy.ts';
import { readInstallation } from './lib/installation.ts';
import { createNamespace, forceDeleteNamespace } from './lib/test-release.ts';

const namespace = `${readInstallation().namespace}-new-service`;

describe('a service that npm run new-service created', () => {
  let copy: RepositoryCopy;

  before(async () => {
    copy = await copyRepository('all');
    // Enforces the PodSecurity level `restricted`.
    await createNamespace(namespace);
  });
  after(async () => {
    await Promise.all([copy.remove(), forceDeleteNamespace(namespace)]);
  });

  it('is installed by npm run cluster:up, called through the gateway, and receives events', async (context) => {
    await copy.run('npm run new-service -- payments --hears user.deleted');
    const [port] = await freePorts(1);
    await copy.run('npm run cluster:up -- --once', {
      ZERDA_NAMESPACE: namespace,
      ZERDA_GATEWAY_PORT: String(port),
    });
    const forward = await forwardPort(namespace, 'zerda-gateway', { local: 0, remote: 8000 });
    context.after(() => forward.stop());
    const send = async (method: string, path: string, json?: object) => {
      const { status, body, text } = await sendRequest(`${forward.url}${path}`, {
        method,
        ...(json !== undefined && { json }),
      });
      assert.ok(status < 300, `${method} ${path}: ${status} ${text}`);
      return body as { data: { id: number }[] & { services: { payments: { status: string } } } };
    };

    await send('POST', '/api/payments', { user_id: 1, name: 'First' });
    assert.equal((await send('GET', '/api/payments')).data.length, 1);
    assert.equal((await send('GET', '/api/health')).data.services.payments.status, 'healthy');
    await send('DELETE', '/api/users/1');
    await eventually(
      async () => (await send('GET', '/api/payments')).data.length === 0,
      'no payments',
      60_000,
    );
  });
});
