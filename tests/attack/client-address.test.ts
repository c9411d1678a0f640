import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { root } from '../../scripts/lib/services.ts';
import { prepareSystem, type System } from '../kit/system.ts';

/** Burst of the login limit per address, and seconds until a further login is allowed. */
const burst = 30;
const secondsPerLogin = 2;
/** Number of logins that the attacker sends. */
const attempts = 60;

/** Returns the proxy variables that the manifests set for a service behind an Ingress. */
async function proxyVariablesOf(service: string): Promise<NodeJS.ProcessEnv> {
  const text = await readFile(join(root, 'k8s/zerda.yaml'), 'utf8');
  const manifest = parseAllDocuments(text)
    .map((document) => document.toJSON())
    .find((object) => object?.kind === 'ConfigMap' && object.metadata.name === `zerda-${service}`);
  const { TRUSTED_PROXIES, TRUSTED_PROXY_HOPS = '' } = manifest.data;
  // If the manifests trust addresses, 127.0.0.1 stands for the ingress controller.
  return { TRUSTED_PROXIES: TRUSTED_PROXIES ? `${TRUSTED_PROXIES},127.0.0.1` : '', TRUSTED_PROXY_HOPS };
}

describe('logins behind an ingress controller, with the trusted proxies of the manifests', () => {
  let system: System;
  let serial = 0;

  before(async () => {
    system = await prepareSystem(
      { AUTH: 'required', AUTH_KEY_SECRET: 'the secret of the keys of this test' },
      {
        'user-service': await proxyVariablesOf('user-service'),
        gateway: await proxyVariablesOf('gateway'),
      },
    );
    await system.users.start();
    await system.gateway.start();
  });
  after(() => system?.close());

  /**
   * Logs in as a new user with the headers that the controller forwards. Resolves with the status.
   * @param forged address that the client sent in its headers
   * @param client address of the client, which the controller appends
   */
  async function login(forged: string, client: string): Promise<number> {
    serial += 1;
    const { status } = await sendRequest(`${system.gateway.url}/api/auth/login`, {
      method: 'POST',
      json: { email: `unknown${serial}@example.com`, password: 'some password or other' },
      headers: {
        'x-forwarded-for': `${forged}, ${client}`,
        'x-real-ip': forged,
        forwarded: `for=${forged}`,
      },
    });
    return status;
  }

  it('count against the client address, whatever addresses the client forges', async () => {
    const startedAt = performance.now();
    const statuses: number[] = [];
    const sendLogins = async (first: number) => {
      for (let index = first; index < attempts; index += 10)
        statuses.push(await login(`203.0.113.${index}`, '10.1.2.3'));
    };
    await Promise.all(Array.from({ length: 10 }, (_, first) => sendLogins(first)));
    const refilled = Math.ceil((performance.now() - startedAt) / 1000 / secondsPerLogin);
    const accepted = statuses.filter((status) => status === 401).length;
    const rejected = statuses.filter((status) => status === 429).length;
    assert.equal(accepted + rejected, attempts, statuses.join(' '));
    assert.ok(accepted <= burst + refilled, `the limit accepted ${accepted} of ${attempts} logins`);
    assert.ok(rejected > 0, 'some logins were rejected');
  });

  it('do not count against another client behind the same controller', async () => {
    assert.equal(await login('10.1.2.3', '10.1.2.4'), 401);
  });
});
