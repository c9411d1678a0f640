import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger, testAudit, testMetrics } from '@zerda/chassis/testing/observed';
import { findDocument } from '@zerda/contracts/openapi/documents';
import { problemCodes, problemType, problemTypes } from '@zerda/contracts/problems';
import supertest from 'supertest';
import { openDoor } from '../../testing/gateway.ts';
import { createApp } from '../app.ts';
import { createPolicyMetrics } from '../metrics/policy-metrics.ts';
import { parseTable } from '../routes/read-table.ts';
import { type ApiDocument, apiPage } from './api-page.ts';
import { html } from './html.ts';

const metrics = testMetrics();
const app = createApp({
  // The pages call no service.
  table: parseTable('{ upstreams: {}, routes: [] }', 'empty'),
  upstreams: new Map(),
  logger: silentLogger(),
  audit: testAudit(),
  metrics,
  policyMetrics: createPolicyMetrics(metrics.registry),
  requestTimeoutMs: 1000,
  upstreamTimeoutMs: 1000,
  ...openDoor,
});

async function pageAt(path: string) {
  return supertest(app).get(path).expect(200).expect('content-type', /html/);
}

function attributes(text: string, name: string): string[] {
  return [...text.matchAll(new RegExp(`\\s${name}="([^"]*)"`, 'g'))].map(([, value]) => value ?? '');
}

describe('documentation', () => {
  it('serves the OpenAPI document of all services', async () => {
    const response = await supertest(app).get('/openapi.json').expect(200).expect('content-type', /json/);
    assert.deepEqual(response.body, JSON.parse(JSON.stringify(findDocument('gateway'))));
  });

  it('shows every operation with its path, parameters, problems and an example', async () => {
    const { text } = await pageAt('/docs');
    for (const [path, methods] of Object.entries((findDocument('gateway') as unknown as ApiDocument).paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        assert.ok(text.includes(`<section id="${operation.operationId}">`), operation.operationId);
        assert.ok(text.includes(`${method.toUpperCase()} ${path}`), path);
      }
    }
    assert.ok(text.includes('curl http://localhost:8000/api/dashboard'));
    assert.ok(text.includes('&quot;email&quot;:&quot;john@example.com&quot;'), 'example of a new user');
    assert.ok(text.includes('<a href="/problems/email-taken">'));
    assert.ok(text.includes('Idempotency-Key'));
  });

  it('returns 304 when If-None-Match matches, and 200 otherwise', async () => {
    for (const path of ['/docs', '/docs/style.css', '/problems', '/problems/not-found', '/openapi.json']) {
      const { headers } = await supertest(app).get(path).expect(200).expect('cache-control', 'no-cache');
      const { etag = '' } = headers;
      assert.match(etag, /^"[A-Za-z0-9_-]{43}"$/, 'a strong tag');
      const again = await supertest(app)
        .get(path)
        .set('If-None-Match', etag)
        .expect(304)
        .expect('etag', etag);
      assert.equal(again.text ?? '', '');
      await supertest(app).get(path).set('If-None-Match', '"other"').expect(200);
      await supertest(app).head(path).expect(200).expect('etag', etag);
    }
  });

  it('allows the browser to load only its stylesheet', async () => {
    for (const path of ['/docs', '/problems', '/problems/not-found']) {
      const { headers, text } = await pageAt(path);
      const policy = String(headers['content-security-policy']);
      assert.match(policy, /default-src 'none'; style-src 'self';/);
      assert.doesNotMatch(policy, /unsafe|https?:/);
      assert.doesNotMatch(text, /<script|<img|<iframe|\sstyle=|\son\w+=|<style/i);
      assert.deepEqual(attributes(text, 'src'), []);
    }
    await supertest(app)
      .get('/docs/style.css')
      .expect(200)
      .expect('content-type', /css/)
      .expect(/--text/);
  });

  it('has no dead links', async () => {
    const visited = new Set<string>();
    const pending = ['/docs'];
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      if (visited.has(path)) continue;
      visited.add(path);
      const { text, type } = await supertest(app).get(path).expect(200);
      if (type !== 'text/html') continue;
      const ids = attributes(text, 'id');
      assert.equal(new Set(ids).size, ids.length, `duplicate id on ${path}`);
      for (const href of attributes(text, 'href')) {
        if (href.startsWith('#')) assert.ok(ids.includes(href.slice(1)), `${path} has no ${href}`);
        else pending.push(href);
      }
    }
    assert.ok(visited.has('/problems') && visited.has('/docs/style.css') && visited.has('/openapi.json'));
    assert.equal([...visited].filter((path) => path.startsWith('/problems/')).length, problemCodes.length);
  });

  it('serves a page for every problem type at its URI', async () => {
    const list = (await pageAt('/problems')).text;
    for (const code of problemCodes) {
      assert.ok(list.includes(`href="${problemType(code)}"`), code);
      const { text } = await pageAt(problemType(code));
      assert.ok(text.includes(html`${problemTypes[code].title}`.markup), code);
      assert.ok(text.includes(html`${problemTypes[code].description}`.markup), code);
      assert.ok(text.includes(`Status ${problemTypes[code].status}`), code);
    }
    await supertest(app)
      .get('/problems/constructor')
      .expect(404)
      .expect('content-type', /problem\+json/);
  });

  it('returns 405 for methods other than GET and HEAD', async () => {
    for (const path of ['/docs', '/docs/style.css', '/problems', '/problems/not-found', '/openapi.json']) {
      await supertest(app)
        .post(path)
        .expect(405)
        .expect('allow', 'GET, HEAD')
        .expect('content-type', /problem\+json/);
      await supertest(app).head(path).expect(200);
    }
  });

  it('escapes texts of the document', () => {
    const text = apiPage({
      info: { title: '<b>&"\'', version: '1' },
      paths: {},
      components: { schemas: { '"><script>': { type: 'string', description: '<i>`<u>`' } } },
    });
    assert.doesNotMatch(text, /<b>|<i>|<u>|<script>/);
    assert.ok(text.includes('&lt;b&gt;&amp;&quot;&#39;'));
  });
});
