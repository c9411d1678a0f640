import { createResponseHeaders, type ResponseHeaders } from '@zerda/chassis/http/response-headers';

/**
 * Creates the headers that the gateway sets on every forwarded response, such as `X-Content-Type-Options` and the
 * correlation id. They replace those of the service.
 */
export function createSecurityHeaders(): ResponseHeaders {
  return createResponseHeaders({
    contentSecurityPolicy: false,
    crossOriginOpenerPolicy: false,
    crossOriginResourcePolicy: false,
    originAgentCluster: false,
    referrerPolicy: false,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xFrameOptions: false,
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
  });
}

const transportSecurity = ['Strict-Transport-Security', 'max-age=31536000; includeSubDomains'] as const;

/** Returns the HSTS header for HTTPS requests, otherwise nothing (RFC 6797, section 7.2). */
export function transportSecurityOf(secure: boolean): readonly string[] {
  return secure ? transportSecurity : [];
}

/** Security headers that the gateway adds when the service does not set them. */
const defaultSecurityHeaders = [
  ['X-Frame-Options', 'SAMEORIGIN'] as const,
  ['Referrer-Policy', 'no-referrer'] as const,
];

/**
 * Returns the security headers that a response lacks: name, value, name, value.
 * @param pairs headers of the response
 * @param secure whether the client uses HTTPS
 */
export function missingSecurityHeaders(pairs: readonly string[], secure: boolean): string[] {
  const missing: string[] = [];
  for (const [name, value] of defaultSecurityHeaders) if (!hasHeader(pairs, name)) missing.push(name, value);
  if (secure && !hasHeader(pairs, transportSecurity[0])) missing.push(...transportSecurity);
  return missing;
}

function hasHeader(pairs: readonly string[], name: string): boolean {
  for (let index = 0; index < pairs.length; index += 2) {
    const candidate = pairs[index] ?? '';
    // Comparing lengths first is cheaper: most names differ in length.
    if (candidate.length === name.length && candidate.toLowerCase() === name.toLowerCase()) return true;
  }
  return false;
}
