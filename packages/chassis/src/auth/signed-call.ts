import type { IncomingMessage, RequestListener } from 'node:http';
import { Failure } from '../failure.ts';
import { sendError } from '../http/problem-response.ts';
import type { Logger } from '../logging/logger.ts';
import { createRepeatedWarning } from '../logging/repeated-warning.ts';
import { isSigned, sign, signatureChallenge, signatureHeader } from './signature.ts';

/** Methods of signed calls. They have no body: the query holds the parameters, so that the signature covers them. */
export type SignedMethod = 'GET' | 'PUT' | 'DELETE';

/**
 * Returns the headers of a signed request to a management port. The signature covers the method, the target and the time.
 * @param target path and query, as sent
 */
export function signedCallHeaders(
  target: string,
  secrets: readonly string[],
  method: SignedMethod = 'GET',
): Record<string, string> {
  return { [signatureHeader]: sign(signedText(method, target), secrets) };
}

/** Returns the response body, which is sent as JSON. @throws Failure that becomes the problem response */
export type SignedCallHandler = (query: URLSearchParams) => Promise<unknown>;

export interface SignedCallOptions {
  /** Accepted secrets; a caller signs with one of them. */
  readonly secrets: readonly string[];
  readonly logger: Pick<Logger, 'warn' | 'error'>;
  /** Handlers by method. */
  readonly handlers: Readonly<Partial<Record<SignedMethod, SignedCallHandler>>>;
  /** Called with the method of each request without a valid signature. */
  readonly onRejected?: ((method: SignedMethod) => void) | undefined;
}

/** Creates a listener for signed requests, for the management port. */
export function createSignedCall({
  secrets,
  logger,
  handlers,
  onRejected,
}: SignedCallOptions): RequestListener {
  const warnOfRejected = createRepeatedWarning(logger, 'request without valid signature rejected');
  const handlersByMethod = new Map(Object.entries(handlers));

  async function handleRequest(request: IncomingMessage): Promise<unknown> {
    const { method = '', url = '', headers } = request;
    const handle = handlersByMethod.get(method);
    if (handle === undefined)
      throw new Failure('method-not-allowed', { allowedMethods: [...handlersByMethod.keys()] });
    if (!isSigned(headers[signatureHeader]?.toString(), signedText(method, url), secrets)) {
      warnOfRejected();
      onRejected?.(method as SignedMethod);
      throw new Failure('unauthenticated', { challenge: signatureChallenge });
    }
    return handle(new URL(url, 'http://localhost').searchParams);
  }

  return (request, response) => {
    handleRequest(request).then(
      (body) => {
        response.setHeader('Content-Type', 'application/json; charset=utf-8');
        response.setHeader('Cache-Control', 'no-store');
        response.end(JSON.stringify(body));
      },
      (error: unknown) => sendError(request, response, error, logger),
    );
  };
}

/** Signed text of a call. No event body has this form, so signatures of events are not valid for calls. */
function signedText(method: string, target: string): string {
  return `${method} ${target}`;
}
