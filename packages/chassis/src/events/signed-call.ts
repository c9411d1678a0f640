import type { IncomingMessage, RequestListener } from 'node:http';
import { Failure } from '../failure.ts';
import { sendProblem } from '../http/problem-response.ts';
import type { Logger } from '../logging/logger.ts';
import { createRepeatedWarning } from '../logging/repeated-warning.ts';
import { isSigned, sign, signatureHeader } from './signature.ts';

/**
 * Headers of a call that a service makes of its own, in nobody's name: signed as events are, with the time in it.
 * @param target path and query, as they are sent
 */
export function signedCallHeaders(target: string, secrets: readonly string[]): Record<string, string> {
  return { [signatureHeader]: sign(signedText('GET', target), secrets) };
}

export interface SignedCallOptions {
  /** Secrets of which a caller must know one. */
  readonly secrets: readonly string[];
  readonly logger: Pick<Logger, 'warn' | 'error'>;
  /** Reads the answer, which goes out as JSON. @throws Failure as which the call is answered */
  readonly answer: (query: URLSearchParams) => Promise<unknown>;
}

/** Answers GET to those who know a secret of ours: for the management port. */
export function createSignedCall({ secrets, logger, answer }: SignedCallOptions): RequestListener {
  const warnOfRejected = createRepeatedWarning(logger, 'call without a valid signature rejected');

  async function read(request: IncomingMessage): Promise<unknown> {
    const { method = '', url = '', headers } = request;
    if (method !== 'GET') throw new Failure('method-not-allowed', { headers: { Allow: 'GET' } });
    if (!isSigned(headers[signatureHeader]?.toString(), signedText(method, url), secrets)) {
      warnOfRejected();
      throw new Failure('unauthenticated', { headers: { 'WWW-Authenticate': 'Signature realm="zerda"' } });
    }
    return answer(new URL(url, 'http://localhost').searchParams);
  }

  return (request, response) => {
    read(request).then(
      (body) => {
        response.setHeader('Content-Type', 'application/json; charset=utf-8');
        response.setHeader('Cache-Control', 'no-store');
        response.end(JSON.stringify(body));
      },
      (error: unknown) => {
        const failure = error instanceof Failure ? error : new Failure('internal-error', { cause: error });
        if (failure.code === 'internal-error') logger.error({ err: error }, 'a signed call failed');
        sendProblem(request, response, failure);
      },
    );
  };
}

/** No event looks like it: the signature of one is none of the other. */
function signedText(method: string, target: string): string {
  return `${method} ${target}`;
}
