import { StartupError } from '../../packages/chassis/src/startup-error.ts';

/** Milliseconds within which a store must respond. */
const timeoutMs = 30_000;

export interface StoreRequest {
  /** Variable that contains the URL of the store, for messages. */
  readonly variable: string;
  /** Base URL of the store; it may contain a path. */
  readonly baseUrl: string;
  /** Path below the base URL, without a leading slash. */
  readonly path: string;
  /** Parameters, sent in the query of a GET or the form of a POST. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** GET by default. */
  readonly method?: 'GET' | 'POST';
  /** Status codes that are not errors; only 200 by default. */
  readonly accept?: readonly number[];
}

/** Sends a request to a store. @throws StartupError without a response, or with a status that is not accepted */
export async function requestStore(request: StoreRequest): Promise<{ status: number; text: string }> {
  const { variable, baseUrl, path, parameters = {}, method = 'GET', accept = [200] } = request;
  const url = new URL(path, baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`);
  const form = new URLSearchParams(parameters);
  if (method === 'GET') url.search = form.toString();
  try {
    const response = await fetch(url, {
      method,
      ...(method === 'POST' && { body: form }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.text();
    if (accept.includes(response.status)) return { status: response.status, text };
    throw new StartupError(
      `${variable}: ${url.origin}${url.pathname} responded with status ${response.status}. Check the URL of the store.`,
    );
  } catch (error) {
    if (error instanceof StartupError) throw error;
    const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
    throw new StartupError(
      `${variable}: ${url.origin} did not respond (${cause?.code ?? cause?.message ?? message}). Start the store, or correct ${variable}.`,
    );
  }
}

/** Parses JSON of a store. @throws StartupError if it is something else, such as the web page of another server */
export function parseStoreJson<T>(variable: string, text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new StartupError(`${variable}: the response is not JSON. Check the URL of the store.`);
  }
}
