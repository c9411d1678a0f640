import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import { it } from 'node:test';
import express from 'express';
import request from 'supertest';
import { Deadline } from '../deadline.ts';
import { currentContext, runInContext } from '../request-context.ts';
import { createResponseHeaders } from './response-headers.ts';

it('sets the headers on every response of Express and plain Node.js, including errors', async () => {
  const responseHeaders = createResponseHeaders();
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const inContext = (listener: RequestListener) =>
    createServer((incoming, response) =>
      runInContext({ correlationId: 'abc', traceparent, deadline: Deadline.after(1000) }, () =>
        listener(incoming, response),
      ),
    );
  const withSet = inContext((incoming, response) =>
    responseHeaders.set(incoming, response, () => response.writeHead(404).end()),
  );
  const withList = inContext((_incoming, response) =>
    response.writeHead(404, responseHeaders.list(currentContext())).end(),
  );
  const app = express().disable('x-powered-by').use(responseHeaders.set);
  app.use((_request, response) => void response.status(404).end());

  for (const server of [withSet, withList, inContext(app)]) {
    const { headers } = await request(server).get('/').expect(404);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['x-frame-options'], 'SAMEORIGIN');
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
    assert.equal(headers['strict-transport-security'], undefined, 'over HTTP (RFC 6797, section 7.2)');
    assert.match(headers['content-security-policy'] ?? '', /^default-src 'self';.*object-src 'none'/);
    assert.equal(headers['x-correlation-id'], 'abc');
    assert.equal(headers.traceresponse, traceparent);
    assert.equal(headers['x-powered-by'], undefined);
    for (const name of responseHeaders.names) assert.ok(headers[name], name);
  }
});
