import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { runScript } from '../kit/command.ts';

const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
const token = `${encode({ alg: 'RS256' })}.${encode({ exp: 1_800_000_000 })}.signature`;

/** Starts a server in place of GitHub's token endpoint and returns the variables of a job. */
async function serveTokens(test: TestContext, listener: RequestListener): Promise<NodeJS.ProcessEnv> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  test.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${port}/token?version=2`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'request',
  };
}

describe('scripts/oidc-token.ts', () => {
  it('prints the token of the job as a credential for kubectl', async (test) => {
    const requests: string[] = [];
    const env = await serveTokens(test, ({ url, headers }, response) => {
      requests.push(`${headers.authorization} ${url}`);
      response.end(JSON.stringify({ value: token }));
    });
    const { code, stdout } = await runScript('oidc-token', env);
    assert.equal(code, 0);
    assert.deepEqual(requests, ['Bearer request /token?version=2&audience=zerda-deployment']);
    const { kind, status } = JSON.parse(stdout);
    assert.equal(kind, 'ExecCredential');
    assert.deepEqual(status, { token, expirationTimestamp: '2027-01-15T08:00:00.000Z' });
  });

  it('fails if GitHub rejects the request', async (test) => {
    const env = await serveTokens(test, (_request, response) => response.writeHead(403).end());
    const { code, stdout, stderr } = await runScript('oidc-token', env);
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^GitHub returned 403/);
  });

  it('fails outside of a job', async () => {
    const { code, stderr } = await runScript('oidc-token', { ACTIONS_ID_TOKEN_REQUEST_URL: '' });
    assert.equal(code, 78);
    assert.match(stderr, /^There is no OIDC token/);
  });
});
