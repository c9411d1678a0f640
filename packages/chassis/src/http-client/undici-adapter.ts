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
  // What the balancer behind this adapter heeds of a call.
  interface AxiosRequestConfig extends BalancedOptions {}
}

export interface UndiciAdapterOptions {
  /** Bytes of an answer that are read at most, unless the call sets `maxContentLength`; 10 MiB by default. */
  readonly maxAnswerBytes?: number;
}

const defaultMaxAnswerBytes = 10 * 1024 * 1024;

/**
 * An axios adapter on an undici dispatcher: the interface of axios at a third of the cost of its own adapters.
 * Errors are those of axios: `ECONNABORTED` after `timeout` (which covers the whole answer), `ERR_CANCELED` by the
 * signal, `ERR_BAD_REQUEST` and `ERR_BAD_RESPONSE` by status, and the code of the connection's error otherwise.
 * Redirects are answers, not followed. Bodies are asked for without a content coding, and decoded from one that a service uses all the same.
 */
export function createUndiciAdapter(
  dispatcher: Dispatcher,
  options: UndiciAdapterOptions = {},
): AxiosAdapter {
  return async (config) => {
    const limit = limitOf(config, options.maxAnswerBytes ?? defaultMaxAnswerBytes);
    const patience = createPatience(config);
    try {
      const url = new URL(axios.getUri(config));
      const answer = await dispatcher.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: (config.method ?? 'get').toUpperCase(),
        headers: headersOf(config),
        body: config.data ?? null,
        signal: patience.signal,
        headersTimeout: 0,
        bodyTimeout: 0,
        ...(config.tried !== undefined && { tried: config.tried }),
      });
      const headers = AxiosHeaders.from(answer.headers as Record<string, string | string[]>);
      const body = await decode(await readBody(answer.body, limit, config), headers, limit, config);
      return settle({
        data: config.responseType === 'arraybuffer' ? body : body.toString('utf8'),
        status: answer.statusCode,
        statusText: answer.statusText,
        headers,
        config,
      });
    } catch (error) {
      throw patience.explain(error);
    } finally {
      patience.end();
    }
  };
}

/** The signal of one call: fires when its time is over or its caller gives up. */
interface Patience {
  readonly signal: AbortSignal;
  /** The error as axios would throw it. */
  explain(error: unknown): unknown;
  end(): void;
}

function createPatience(config: InternalAxiosRequestConfig): Patience {
  const controller = new AbortController();
  const caller = config.signal;
  const timeout = config.timeout ?? 0;
  let ended: AxiosError | undefined;

  function stop(error: AxiosError): void {
    ended ??= error;
    controller.abort(ended);
  }
  function cancel(): void {
    stop(new axios.CanceledError(undefined, config));
  }

  const timer =
    timeout > 0
      ? setTimeout(() => {
          stop(new AxiosError(`timeout of ${timeout}ms exceeded`, AxiosError.ECONNABORTED, config));
        }, timeout)
      : undefined;
  if (caller?.aborted) cancel();
  else caller?.addEventListener?.('abort', cancel);

  return {
    signal: controller.signal,
    explain(error) {
      if (ended !== undefined) return ended;
      if (axios.isAxiosError(error)) return error;
      return AxiosError.from(error as Error, (error as NodeJS.ErrnoException).code, config);
    },
    end() {
      clearTimeout(timer);
      caller?.removeEventListener?.('abort', cancel);
    },
  };
}

function limitOf(config: InternalAxiosRequestConfig, otherwise: number): number {
  const { maxContentLength } = config;
  return maxContentLength !== undefined && maxContentLength >= 0 ? maxContentLength : otherwise;
}

function headersOf(config: InternalAxiosRequestConfig): Record<string, string> {
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  // axios marks a header that must not be sent with false.
  const given: Record<string, unknown> = config.headers.toJSON();
  for (const [name, value] of Object.entries(given)) {
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

/** What axios throws for an answer whose status is not accepted. */
export function statusError(response: AxiosResponse): AxiosError {
  const { status, config } = response;
  const code = status >= 400 && status < 500 ? AxiosError.ERR_BAD_REQUEST : AxiosError.ERR_BAD_RESPONSE;
  const internal = config as InternalAxiosRequestConfig;
  return new AxiosError(`Request failed with status code ${status}`, code, internal, undefined, response);
}
