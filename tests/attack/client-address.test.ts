import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { root } from '../../scripts/lib/services.ts';
import { call } from '../system/lib/http.ts';
import { prepareSystem, type System } from '../system/lib/system.ts';

/** Logins that an address has at once, and seconds until it has another one. */
const burst = 30;
const secondsEach = 2;
/** Logins that an attacker tries. */
const tries = 60;

/** Variables about proxies as the manifests set them for a service behind an Ingress. */
async function proxyVariablesOf(service: string): Promise<NodeJS.ProcessEnv> {
  const text = await readFile(join(root, 'k8s/zerda.yaml'), 'utf8');
  const manifest = parseAllDocuments(text)
    .map((document) => document.toJSON())
    .find((object) => object?.kind === 'ConfigMap' && object.metadata.name === `zerda-${service}`);
  const { TRUSTED_PROXIES, TRUSTED_PROXY_HOPS = '' } = manifest.data;
  // Where the manifests know the controller by its address, it has that of this machine here.
  return { TRUSTED_PROXIES: TRUSTED_PROXIES ? `${TRUSTED_PROXIES},127.0.0.1` : '', TRUSTED_PROXY_HOPS };
}

describe('logins behind an ingress controller, with the proxies that the manifests trust', () => {
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

  /** Logs in as a user of its own, with a header as the controller sends it on: what the client wrote, and the client's address. */
  async function login(written: string, client: string): Promise<number> {
    serial += 1;
    const { status } = await call(`${system.gateway.url}/api/auth/login`, {
      method: 'POST',
      json: { email: `nobody${serial}@example.com`, password: 'some password or other' },
      headers: {
        'x-forwarded-for': `${written}, ${client}`,
        'x-real-ip': written,
        forwarded: `for=${written}`,
      },
    });
    return status;
  }

  it('count as those of one address, whatever addresses the client makes up', async () => {
    const begun = performance.now();
    const statuses: number[] = [];
    const makeUp = async (first: number) => {
      for (let index = first; index < tries; index += 10)
        statuses.push(await login(`203.0.113.${index}`, '10.1.2.3'));
    };
    await Promise.all(Array.from({ length: 10 }, (_, first) => makeUp(first)));
    const regained = Math.ceil((performance.now() - begun) / 1000 / secondsEach);
    const tried = statuses.filter((status) => status === 401).length;
    const refused = statuses.filter((status) => status === 429).length;
    assert.equal(tried + refused, tries, statuses.join(' '));
    assert.ok(tried <= burst + regained, `${tried} of ${tries} logins were counted for other addresses`);
    assert.ok(refused > 0, 'some logins were refused');
  });

  it('count apart from those of another client behind the same controller', async () => {
    assert.equal(await login('10.1.2.3', '10.1.2.4'), 401);
  });
});
