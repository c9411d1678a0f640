import assert from 'node:assert/strict';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import axios, { type AxiosError, type AxiosInstance } from 'axios';
import { Agent } from 'undici';
import { createUndiciAdapter } from './undici-adapter.ts';

const routes: Record<string, RequestListener> = {
  '/api/echo': async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    response.setHeader('content-type', 'application/json');
    response.setHeader('set-cookie', ['a=1', 'b=2']);
    const { method, url, headers } = request;
    response.end(JSON.stringify({ method, url, type: headers['content-type'], own: headers['x-own'], body }));
  },
  '/api/broken': (_request, response) => {
    response.statusCode = 500;
    response.end('{"why":"broken"}');
  },
  '/api/missing': (_request, response) => {
    response.statusCode = 404;
    response.end();
  },
  '/api/moved': (_request, response) => {
    response.writeHead(302, { location: '/api/echo' }).end();
  },
  '/api/silent': () => undefined,
  '/api/stalling': (_request, response) => {
    response.write('{"half":');
  },
  '/api/endless': (_request, response) => {
    const more = setInterval(() => response.write(Buffer.alloc(16 * 1024)), 1);
    response.on('close', () => clearInterval(more));
  },
};

describe('axios on undici', () => {
  const agent = new Agent();
  let server: Server;
  let http: AxiosInstance;

  before(async () => {
    server = createServer((request, response) => {
      const path = (request.url ?? '').split('?', 1)[0] ?? '';
      routes[path]?.(request, response);
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const { port } = server.address() as AddressInfo;
    http = axios.create({
      adapter: createUndiciAdapter(agent, { maxAnswerBytes: 100_000 }),
      baseURL: `http://127.0.0.1:${port}/api`,
    });
  });
  after(async () => {
    await agent.destroy();
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });

  async function failureOf(call: Promise<unknown>): Promise<AxiosError> {
    const error = await call.then(
      () => assert.fail('the call succeeded'),
      (thrown: unknown) => thrown,
    );
    assert.ok(axios.isAxiosError(error), String(error));
    return error;
  }

  it('builds the URL from base, path and parameters and reads JSON', async () => {
    const answer = await http.get('/echo', {
      params: { limit: 5, name: 'a b&c' },
      headers: { 'x-own': 'yes' },
    });
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.data, {
      method: 'GET',
      url: '/api/echo?limit=5&name=a+b%26c',
      own: 'yes',
      body: '',
    });
    assert.deepEqual(answer.headers['set-cookie'], ['a=1', 'b=2']);
  });

  it('sends JSON', async () => {
    const { data } = await http.post('/echo', { name: 'Ünï' });
    assert.equal(data.type, 'application/json');
    assert.equal(data.body, '{"name":"Ünï"}');
  });

  it('reads bytes when asked for them', async () => {
    const { data } = await http.get('/echo', { responseType: 'arraybuffer' });
    assert.ok(Buffer.isBuffer(data));
  });

  it('rejects a 5xx with the answer', async () => {
    const error = await failureOf(http.get('/broken'));
    assert.equal(error.code, 'ERR_BAD_RESPONSE');
    assert.equal(error.response?.status, 500);
    assert.deepEqual(error.response?.data, { why: 'broken' });
  });

  it('rejects a 4xx as the request being bad, and answers it when the caller accepts any status', async () => {
    assert.equal((await failureOf(http.get('/missing'))).code, 'ERR_BAD_REQUEST');
    assert.equal((await http.get('/missing', { validateStatus: null })).status, 404);
  });

  it('does not follow a redirect', async () => {
    assert.equal((await failureOf(http.get('/moved'))).response?.status, 302);
  });

  it('gives up after the timeout when there is no answer, and when it stops half way', async () => {
    assert.equal((await failureOf(http.get('/silent', { timeout: 30 }))).code, 'ECONNABORTED');
    assert.equal((await failureOf(http.get('/stalling', { timeout: 30 }))).code, 'ECONNABORTED');
  });

  it("ends with the caller's signal, before and during the call", async () => {
    assert.equal(
      (await failureOf(http.get('/silent', { signal: AbortSignal.abort() }))).code,
      'ERR_CANCELED',
    );
    const controller = new AbortController();
    const call = failureOf(http.get('/silent', { signal: controller.signal }));
    controller.abort();
    const error = await call;
    assert.equal(error.code, 'ERR_CANCELED');
    assert.ok(axios.isCancel(error));
  });

  it('keeps the code of a refused connection', async () => {
    const unused = createServer();
    await new Promise<void>((listening) => unused.listen(0, '127.0.0.1', listening));
    const { port } = unused.address() as AddressInfo;
    await new Promise((closed) => unused.close(closed));
    assert.equal((await failureOf(http.get(`http://127.0.0.1:${port}/`))).code, 'ECONNREFUSED');
  });

  it('stops reading an answer that is larger than allowed', async () => {
    const error = await failureOf(http.get('/endless'));
    assert.equal(error.code, 'ERR_BAD_RESPONSE');
    assert.match(error.message, /100000 exceeded/);
    assert.match((await failureOf(http.get('/echo', { maxContentLength: 10 }))).message, /10 exceeded/);
  });
});
