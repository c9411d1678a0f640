import axios, {
  type AxiosAdapter,
  AxiosError,
  AxiosHeaders,
  type AxiosResponse,
  type InternalAxiosRequestConfig,
} from 'axios';
import type { Dispatcher } from 'undici';
import type { BalancedOptions } from './balancer.ts';
import { decodeBody } from './content-coding.ts';

declare module 'axios' {
  // Balancer options of a call.
  interface AxiosRequestConfig extends BalancedOptions {}
}

export interface UndiciAdapterOptions {
  /** Maximum size of a response body in bytes, unless the call sets `maxContentLength`; 10 MiB by default. */
  readonly maxResponseBytes?: number;
}

const defaultMaxResponseBytes = 10 * 1024 * 1024;

/**
 * Creates an axios adapter that uses an undici dispatcher, at a third of the cost of the adapters of axios.
 *
 * Errors are those of axios: `ECONNABORTED` after `timeout` (which covers the whole response), `ERR_CANCELED` by the signal,
 * `ERR_BAD_REQUEST` and `ERR_BAD_RESPONSE` by status, otherwise the code of the connection error. Redirects are returned, not followed.
 * Requests accept no content coding, but coded responses are decoded.
 */
export function createUndiciAdapter(
  dispatcher: Dispatcher,
  options: UndiciAdapterOptions = {},
): AxiosAdapter {
  return async (config) => {
    const limit = limitOf(config, options.maxResponseBytes ?? defaultMaxResponseBytes);
    const callSignal = createCallSignal(config);
    try {
      const url = new URL(axios.getUri(config));
      const response = await dispatcher.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: (config.method ?? 'get').toUpperCase(),
        headers: headersOf(config),
        body: config.data ?? null,
        signal: callSignal.signal,
        headersTimeout: 0,
        bodyTimeout: 0,
        ...(config.tried !== undefined && { tried: config.tried }),
        ...(config.onConnected !== undefined && { onConnected: config.onConnected }),
      });
      const headers = AxiosHeaders.from(response.headers as Record<string, string | string[]>);
      const body = await decode(await readBody(response.body, limit, config), headers, limit, config);
      return settle({
        data: config.responseType === 'arraybuffer' ? body : body.toString('utf8'),
        status: response.statusCode,
        statusText: response.statusText,
        headers,
        config,
      });
    } catch (error) {
      throw callSignal.toAxiosError(error);
    } finally {
      callSignal.dispose();
    }
  };
}

/** The abort signal of one call, for its timeout and the signal of its caller. */
interface CallSignal {
  readonly signal: AbortSignal;
  /** Converts an error to the one that axios would throw. */
  toAxiosError(error: unknown): unknown;
  /** Removes the timer and the listener. */
  dispose(): void;
}

function createCallSignal(config: InternalAxiosRequestConfig): CallSignal {
  const controller = new AbortController();
  const caller = config.signal;
  const timeout = config.timeout ?? 0;
  let abortError: AxiosError | undefined;

  function abort(error: AxiosError): void {
    abortError ??= error;
    controller.abort(abortError);
  }
  function cancel(): void {
    abort(new axios.CanceledError(undefined, config));
  }

  const timer =
    timeout > 0
      ? setTimeout(() => {
          abort(new AxiosError(`timeout of ${timeout}ms exceeded`, AxiosError.ECONNABORTED, config));
        }, timeout)
      : undefined;
  if (caller?.aborted) cancel();
  else caller?.addEventListener?.('abort', cancel);

  return {
    signal: controller.signal,
    toAxiosError(error) {
      if (abortError !== undefined) return abortError;
      if (axios.isAxiosError(error)) return error;
      return AxiosError.from(error as Error, (error as NodeJS.ErrnoException).code, config);
    },
    dispose() {
      clearTimeout(timer);
      caller?.removeEventListener?.('abort', cancel);
    },
  };
}

function limitOf(config: InternalAxiosRequestConfig, defaultLimit: number): number {
  const { maxContentLength } = config;
  return maxContentLength !== undefined && maxContentLength >= 0 ? maxContentLength : defaultLimit;
}

function headersOf(config: InternalAxiosRequestConfig): Record<string, string> {
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  // axios marks a header that must not be sent with false.
  const configured: Record<string, unknown> = config.headers.toJSON();
  for (const [name, value] of Object.entries(configured)) {
    if (value !== null && value !== undefined && value !== false) headers[name.toLowerCase()] = String(value);
  }
  return headers;
}

async function readBody(
  body: Dispatcher.ResponseData['body'],
  limit: number,
  config: InternalAxiosRequestConfig,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) {
      throw new AxiosError(`maxContentLength size of ${limit} exceeded`, AxiosError.ERR_BAD_RESPONSE, config);
    }
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size);
}

async function decode(
  body: Buffer,
  headers: AxiosHeaders,
  limit: number,
  config: InternalAxiosRequestConfig,
): Promise<Buffer> {
  const coding = headers['content-encoding'];
  if (coding === undefined) return body;
  try {
    return await decodeBody(body, String(coding), limit);
  } catch (error) {
    throw AxiosError.from(error as Error, AxiosError.ERR_BAD_RESPONSE, config);
  }
}

function settle(response: AxiosResponse): AxiosResponse {
  if (response.config.validateStatus?.(response.status) ?? true) return response;
  throw statusError(response);
}

/** Returns the error that axios throws for a rejected status. */
export function statusError(response: AxiosResponse): AxiosError {
  const { status, config } = response;
  const code = status >= 400 && status < 500 ? AxiosError.ERR_BAD_REQUEST : AxiosError.ERR_BAD_RESPONSE;
  const internal = config as InternalAxiosRequestConfig;
  return new AxiosError(`Request failed with status code ${status}`, code, internal, undefined, response);
}
