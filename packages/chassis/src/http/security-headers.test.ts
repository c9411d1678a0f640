import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { it } from 'node:test';
import express from 'express';
import request from 'supertest';
import { createSecurityHeaders } from './security-headers.ts';

it('security headers are on every answer, of Express and of plain Node, errors included', async () => {
  const setSecurityHeaders = createSecurityHeaders();
  const plain = createServer((incoming, response) => {
    setSecurityHeaders(incoming, response, () => response.writeHead(404).end());
  });
  const app = express().disable('x-powered-by').use(setSecurityHeaders);
  app.use((_request, response) => void response.status(404).end());

  for (const server of [plain, app]) {
    const { headers } = await request(server).get('/').expect(404);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['x-frame-options'], 'SAMEORIGIN');
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
    assert.match(headers['strict-transport-security'] ?? '', /^max-age=\d{8}; includeSubDomains$/);
    assert.match(headers['content-security-policy'] ?? '', /^default-src 'self';.*object-src 'none'/);
    assert.equal(headers['x-powered-by'], undefined);
  }
});
