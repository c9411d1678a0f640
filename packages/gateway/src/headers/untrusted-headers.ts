/**
 * Headers in which proxies and platforms pass the identity or the address of a client to services. The gateway uses
 * only the token and `X-Forwarded-For`, so it removes these headers: a service could trust forged values.
 */
const identityHeaders: readonly string[] = [
  ...['x-user', 'x-user-id', 'x-user-name', 'x-username', 'x-user-email', 'x-user-role', 'x-user-roles'],
  ...['x-user-claims', 'x-user-groups', 'x-userid', 'x-userinfo', 'x-email', 'x-role', 'x-roles', 'x-groups'],
  ...['x-subject', 'x-caller', 'x-id-token', 'x-access-token', 'x-credential-identifier'],
  ...['x-anonymous-consumer', 'x-goog-iap-jwt-assertion', 'x-authorization', 'x-account-id', 'x-admin'],
  ...['remote-user', 'remote-name', 'remote-email', 'remote-group', 'remote-groups', 'remote-addr'],
  ...['x-real-ip', 'x-client-ip', 'client-ip', 'true-client-ip', 'cf-connecting-ip', 'fastly-client-ip'],
  ...['x-cluster-client-ip', 'x-original-forwarded-for', 'x-envoy-external-address', 'x-original-host'],
];

/** Prefixes of such headers. */
const identityPrefixes: readonly string[] = [
  ...['x-auth-', 'x-authenticated-', 'x-remote-', 'x-consumer-', 'x-jwt-', 'x-webauth-', 'x-token-'],
  ...['x-goog-authenticated-', 'x-amzn-oidc-', 'x-ms-client-principal', 'x-ms-token-', 'cf-access-'],
  ...['x-ssl-client', 'ssl-client', 'x-client-cert', 'x-client-dn', 'x-client-verify', 'x-tls-client'],
  ...['tailscale-', 'x-pomerium-', 'x-vouch-', 'impersonate-', 'x-impersonate-'],
];

/** Headers with which some frameworks override the method or the path of the request, bypassing the route table. */
const overrideHeaders: readonly string[] = [
  ...['x-http-method', 'x-http-method-override', 'x-method-override'],
  ...['x-original-url', 'x-original-uri', 'x-original-method', 'x-rewrite-url'],
];

const untrustedNames = new Set([...identityHeaders, ...overrideHeaders]);

/**
 * Returns whether clients may not set this header. `_` counts as `-`, because some services do not distinguish the two
 * (RFC 3875, section 4.1.18).
 * @param name in lower case
 */
export function isUntrusted(name: string): boolean {
  const normalized = name.replaceAll('_', '-');
  // An alternate spelling of a header that the gateway reads would bypass it and reach such a service.
  const isAlternateSpelling = normalized !== name && gatewayReadHeaders.has(normalized);
  return (
    isAlternateSpelling ||
    untrustedNames.has(normalized) ||
    identityPrefixes.some((prefix) => normalized.startsWith(prefix))
  );
}

const gatewayReadHeaders = new Set([
  ...['authorization', 'host', 'content-length', 'transfer-encoding', 'forwarded', 'x-forwarded-for'],
  ...['x-forwarded-host', 'x-forwarded-proto', 'x-correlation-id', 'x-request-timeout-ms', 'idempotency-key'],
]);
