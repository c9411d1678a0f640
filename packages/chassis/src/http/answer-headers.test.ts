import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import { it } from 'node:test';
import express from 'express';
import request from 'supertest';
import { Deadline } from '../deadline.ts';
import { currentContext, runInContext } from '../request-context.ts';
import { createAnswerHeaders } from './answer-headers.ts';

it('answer headers are on every answer, of Express and of plain Node, errors included', async () => {
  const answerHeaders = createAnswerHeaders();
  const inContext = (listener: RequestListener) =>
    createServer((incoming, response) =>
      runInContext({ correlationId: 'abc', deadline: Deadline.after(1000) }, () =>
        listener(incoming, response),
      ),
    );
  const setting = inContext((incoming, response) =>
    answerHeaders.set(incoming, response, () => response.writeHead(404).end()),
  );
  const listing = inContext((_incoming, response) =>
    response.writeHead(404, answerHeaders.list(currentContext())).end(),
  );
  const app = express().disable('x-powered-by').use(answerHeaders.set);
  app.use((_request, response) => void response.status(404).end());

  for (const server of [setting, listing, inContext(app)]) {
    const { headers } = await request(server).get('/').expect(404);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['x-frame-options'], 'SAMEORIGIN');
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
    assert.equal(headers['strict-transport-security'], undefined, 'over HTTP (RFC 6797, section 7.2)');
    assert.match(headers['content-security-policy'] ?? '', /^default-src 'self';.*object-src 'none'/);
    assert.equal(headers['x-correlation-id'], 'abc');
    assert.equal(headers['x-powered-by'], undefined);
    for (const name of answerHeaders.names) assert.ok(headers[name], name);
  }
});
