import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import { startHttpServer, type TestServer } from '@zerda/chassis/testing/http-server';

/** A stub service whose request listener a test can replace at any time. */
export interface StubService extends TestServer {
  listener: RequestListener;
  /** Received requests, in order. */
  readonly requests: IncomingMessage[];
}

export async function startStub(
  context: TestContext,
  listener: RequestListener = respondEmpty,
): Promise<StubService> {
  const requests: IncomingMessage[] = [];
  const server = await startHttpServer(context, (incoming, response) => {
    requests.push(incoming);
    stub.listener(incoming, response);
  });
  const stub: StubService = { ...server, listener, requests };
  return stub;
}

const respondEmpty: RequestListener = (incoming, response) => {
  incoming.resume();
  sendJson(response, 200, { status: 'success', data: {} });
};

/** Sends a JSON response in the format of the services. */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
  response.end(JSON.stringify(body));
}

/** Returns a listener that responds with JSON by path; 404 for other paths. */
export function jsonByPath(bodies: Readonly<Record<string, unknown>>): RequestListener {
  return (incoming, response) => {
    const body = bodies[incoming.url ?? ''];
    if (body === undefined) sendJson(response, 404, { detail: 'no such path' }, { 'x-problem': 'not-found' });
    else sendJson(response, 200, body);
  };
}
