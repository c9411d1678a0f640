import { type Agent, type IncomingHttpHeaders, request } from 'node:http';
import { buffer } from 'node:stream/consumers';

/** A complete response. */
export interface HttpResponse {
  readonly status: number;
  /** Values by lower-case name; repeated headers are joined. */
  readonly headers: Readonly<Record<string, string | undefined>> & Pick<IncomingHttpHeaders, 'set-cookie'>;
  /** Names and values as sent. */
  readonly rawHeaders: readonly string[];
  readonly text: string;
  /** Parsed JSON; undefined for other content types. Throws if the JSON is malformed. */
  // The tests check the shape of the body.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  readonly body: any;
  /** Length of the body in bytes. */
  readonly bytes: number;
  /** Milliseconds from sending the request to the last byte of the response. */
  readonly ms: number;
}

export interface HttpRequest {
  /** GET by default. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent unchanged, instead of `json`. */
  readonly body?: string | Buffer;
  /** Bearer token; none by default. */
  readonly token?: string | undefined;
  /** Sent instead of the path of the URL, without normalization. */
  readonly path?: string;
  /** Connection pool; a new connection by default, so that none to a server that a test stops stays open. */
  readonly agent?: Agent;
  /** Timeout in milliseconds; 20,000 by default. */
  readonly timeoutMs?: number;
}

/** Sends a request and reads the whole response, whatever its status. Follows no redirect. @throws Error without a complete response */
export function sendRequest(
  url: string,
  { method = 'GET', headers, json, body, token, path, agent, timeoutMs = 20_000 }: HttpRequest = {},
): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    const outgoing = request(
      url,
      {
        method,
        agent: agent ?? false,
        signal: AbortSignal.timeout(timeoutMs),
        ...(path !== undefined && { path }),
        headers: {
          ...(json !== undefined && { 'content-type': 'application/json' }),
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
          ...(headers as Record<string, string | string[]>),
        },
      },
      (incoming) => {
        buffer(incoming).then((content) => {
          const text = content.toString();
          const isJson = text !== '' && /\bjson\b/.test(incoming.headers['content-type'] ?? '');
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers as HttpResponse['headers'],
            rawHeaders: incoming.rawHeaders,
            text,
            get body() {
              return isJson ? JSON.parse(text) : undefined;
            },
            bytes: content.length,
            ms: performance.now() - startedAt,
          });
        }, reject);
      },
    );
    outgoing.once('error', reject).end(json === undefined ? body : JSON.stringify(json));
  });
}
