import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { openHttpServer, type TestServer } from '@zerda/chassis/testing/http-server';
import { freePort } from '@zerda/chassis/testing/port';
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
  let server: TestServer;
  let http: AxiosInstance;

  before(async () => {
    server = await openHttpServer((request, response) => {
      const path = (request.url ?? '').split('?', 1)[0] ?? '';
      routes[path]?.(request, response);
    });
    http = axios.create({
      adapter: createUndiciAdapter(agent, { maxResponseBytes: 100_000 }),
      baseURL: `${server.url}/api`,
    });
  });
  after(async () => {
    await agent.destroy();
    await server.stop();
  });

  async function failureOf(call: Promise<unknown>): Promise<AxiosError> {
    const error = await call.then(
      () => assert.fail('the call succeeded'),
      (thrown: unknown) => thrown,
    );
    assert.ok(axios.isAxiosError(error), String(error));
    return error;
  }

  it('builds the URL from base, path and parameters, and parses JSON', async () => {
    const response = await http.get('/echo', {
      params: { limit: 5, name: 'a b&c' },
      headers: { 'x-own': 'yes' },
    });
    assert.equal(response.status, 200);
    assert.deepEqual(response.data, {
      method: 'GET',
      url: '/api/echo?limit=5&name=a+b%26c',
      own: 'yes',
      body: '',
    });
    assert.deepEqual(response.headers['set-cookie'], ['a=1', 'b=2']);
  });

  it('sends JSON', async () => {
    const { data } = await http.post('/echo', { name: 'Ünï' });
    assert.equal(data.type, 'application/json');
    assert.equal(data.body, '{"name":"Ünï"}');
  });

  it('returns bytes for the response type arraybuffer', async () => {
    const { data } = await http.get('/echo', { responseType: 'arraybuffer' });
    assert.ok(Buffer.isBuffer(data));
  });

  it('rejects a 5xx with the response', async () => {
    const error = await failureOf(http.get('/broken'));
    assert.equal(error.code, 'ERR_BAD_RESPONSE');
    assert.equal(error.response?.status, 500);
    assert.deepEqual(error.response?.data, { why: 'broken' });
  });

  it('rejects a 4xx as a bad request, and returns it if the caller accepts any status', async () => {
    assert.equal((await failureOf(http.get('/missing'))).code, 'ERR_BAD_REQUEST');
    assert.equal((await http.get('/missing', { validateStatus: null })).status, 404);
  });

  it('does not follow a redirect', async () => {
    assert.equal((await failureOf(http.get('/moved'))).response?.status, 302);
  });

  it('times out without a response, and within a response', async () => {
    assert.equal((await failureOf(http.get('/silent', { timeout: 30 }))).code, 'ECONNABORTED');
    assert.equal((await failureOf(http.get('/stalling', { timeout: 30 }))).code, 'ECONNABORTED');
  });

  it("is canceled by the caller's signal, before and during the call", async () => {
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

  it('rejects with the code of a refused connection', async () => {
    const port = await freePort();
    assert.equal((await failureOf(http.get(`http://127.0.0.1:${port}/`))).code, 'ECONNREFUSED');
  });

  it('stops reading a response that exceeds the maximum size', async () => {
    const error = await failureOf(http.get('/endless'));
    assert.equal(error.code, 'ERR_BAD_RESPONSE');
    assert.match(error.message, /100000 exceeded/);
    assert.match((await failureOf(http.get('/echo', { maxContentLength: 10 }))).message, /10 exceeded/);
  });
});
