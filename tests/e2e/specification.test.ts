import { describe, it } from 'node:test';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { readInstallation } from './lib/installation.ts';
import { verifySpecification } from './lib/specification.ts';

const installation = readInstallation();

describe('the commands of the specification, unchanged', () => {
  it('work through the Ingress', async (t) => {
    await verifySpecification(t, installation.ingress, installation.ingressHost);
  });

  it('work through the HTTPRoute', {
    skip: installation.gateway === undefined && 'E2E_GATEWAY is not set',
  }, async (t) => {
    await verifySpecification(t, installation.ingress, installation.routeHost);
  });

  it('work through kubectl port-forward', async (t) => {
    const forward = await forwardPort(installation.namespace, 'zerda-gateway', { local: 0, remote: 8000 });
    t.after(() => forward.stop());
    await verifySpecification(t, new URL(forward.url).host);
  });
});
