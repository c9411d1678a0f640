import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Failure } from '../failure.ts';
import { silentLogger } from '../testing.ts';
import { sign, signatureHeader } from './signature.ts';
import { createSignedCall, signedCallHeaders } from './signed-call.ts';

const [secret, another] = ['the secret of services, long enough', 'another secret, which is as long'];
const target = '/things?after=7';

describe('a call that is signed', () => {
  const asked: string[] = [];
  const server = createServer(
    createSignedCall({
      secrets: [secret],
      logger: silentLogger(),
      async answer(query) {
        asked.push(query.toString());
        if (query.get('after') === 'fault') throw new Error('a secret reason');
        if (query.get('after') === '0') throw new Failure('invalid-request');
        return { things: [8, 9] };
      },
    }),
  );
  let url: string;

  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => server.close());

  async function call(path: string, headers: Record<string, string>, method = 'GET') {
    const response = await fetch(url + path, { method, headers: { connection: 'close', ...headers } });
    return { status: response.status, text: await response.text() };
  }

  it('is answered, also while the secret is replaced', async () => {
    for (const secrets of [[secret], [another, secret], [secret, another]])
      assert.deepEqual(await call(target, signedCallHeaders(target, secrets)), {
        status: 200,
        text: '{"things":[8,9]}',
      });
    assert.deepEqual(asked.splice(0), ['after=7', 'after=7', 'after=7']);
  });

  it('is refused without a signature, with one of another secret, call, kind or time', async () => {
    const old = sign(`GET ${target}`, [secret], Date.now() - 301_000);
    for (const headers of [
      {},
      signedCallHeaders(target, [another]),
      signedCallHeaders('/things?after=8', [secret]),
      { [signatureHeader]: sign(target, [secret]) },
      { [signatureHeader]: sign(`POST ${target}`, [secret]) },
      { [signatureHeader]: old },
      { [signatureHeader]: 't=,v1=' },
    ])
      assert.equal((await call(target, headers as Record<string, string>)).status, 401);
    assert.equal((await call(target, signedCallHeaders(target, [secret]), 'POST')).status, 405);
    assert.deepEqual(asked, [], 'and nothing was looked up');
  });

  it('that fails tells no more than any other', async () => {
    const fault = '/things?after=fault';
    const { status, text } = await call(fault, signedCallHeaders(fault, [secret]));
    assert.equal(status, 500);
    assert.doesNotMatch(text, /reason/);
    const wrong = '/things?after=0';
    assert.equal((await call(wrong, signedCallHeaders(wrong, [secret]))).status, 400);
  });
});
