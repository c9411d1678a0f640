import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sendRequest } from '../../testing/http.ts';
import { openHttpServer, type TestServer } from '../../testing/http-server.ts';
import { silentLogger } from '../../testing/observed.ts';
import { Failure } from '../failure.ts';
import { sign, signatureHeader } from './signature.ts';
import { createSignedCall, signedCallHeaders } from './signed-call.ts';

const [secret, otherSecret] = ['the secret of services, long enough', 'another secret, which is as long'];
const target = '/things?after=7';

describe('signed call', () => {
  const handled: string[] = [];
  const rejected: string[] = [];
  const listener = createSignedCall({
    secrets: [secret],
    logger: silentLogger(),
    handlers: {
      async GET(query) {
        handled.push(query.toString());
        if (query.get('after') === 'fault') throw new Error('a secret reason');
        if (query.get('after') === '0') throw new Failure('invalid-request');
        return { things: [8, 9] };
      },
      async PUT() {
        handled.push('put');
        return {};
      },
    },
    onRejected: (method) => void rejected.push(method),
  });
  let server: TestServer;

  before(async () => {
    server = await openHttpServer(listener);
  });
  after(() => server.stop());

  async function call(path: string, headers: Record<string, string>, method = 'GET') {
    const { status, text } = await sendRequest(server.url + path, { method, headers });
    return { status, text };
  }

  it('returns the response, also during a secret rotation', async () => {
    for (const secrets of [[secret], [otherSecret, secret], [secret, otherSecret]])
      assert.deepEqual(await call(target, signedCallHeaders(target, secrets)), {
        status: 200,
        text: '{"things":[8,9]}',
      });
    assert.deepEqual(handled.splice(0), ['after=7', 'after=7', 'after=7']);
  });

  it('returns 401 without a signature or with one of another secret, call, kind or time', async () => {
    const expired = sign(`GET ${target}`, [secret], Date.now() - 301_000);
    for (const headers of [
      {},
      signedCallHeaders(target, [otherSecret]),
      signedCallHeaders('/things?after=8', [secret]),
      { [signatureHeader]: sign(target, [secret]) },
      { [signatureHeader]: sign(`POST ${target}`, [secret]) },
      { [signatureHeader]: expired },
      { [signatureHeader]: 't=,v1=' },
    ])
      assert.equal((await call(target, headers as Record<string, string>)).status, 401);
    assert.equal((await call(target, signedCallHeaders(target, [secret]), 'POST')).status, 405);
    assert.deepEqual(handled, [], 'no handler ran');
    assert.deepEqual(rejected.splice(0), Array(7).fill('GET'));
  });

  it('accepts a signature for its method only', async () => {
    assert.equal((await call(target, signedCallHeaders(target, [secret]), 'PUT')).status, 401);
    assert.equal((await call(target, signedCallHeaders(target, [secret], 'PUT'))).status, 401);
    assert.deepEqual(rejected.splice(0), ['PUT', 'GET']);
    assert.equal((await call(target, signedCallHeaders(target, [secret], 'PUT'), 'PUT')).status, 200);
    assert.deepEqual(handled.splice(0), ['put']);
  });

  it('returns 500 without internal details on an error', async () => {
    const fault = '/things?after=fault';
    const { status, text } = await call(fault, signedCallHeaders(fault, [secret]));
    assert.equal(status, 500);
    assert.doesNotMatch(text, /reason/);
    const wrong = '/things?after=0';
    assert.equal((await call(wrong, signedCallHeaders(wrong, [secret]))).status, 400);
  });
});
