/**
 * Names under which proxies and platforms tell the services behind them who asks, or from where. Here a token and
 * `X-Forwarded-For` do, and nothing else: from outside these are lies, for whoever might believe them.
 */
const ofIdentity: readonly string[] = [
  ...['x-user', 'x-user-id', 'x-user-name', 'x-username', 'x-user-email', 'x-user-role', 'x-user-roles'],
  ...['x-user-claims', 'x-user-groups', 'x-userid', 'x-userinfo', 'x-email', 'x-role', 'x-roles', 'x-groups'],
  ...['x-subject', 'x-caller', 'x-id-token', 'x-access-token', 'x-credential-identifier'],
  ...['x-anonymous-consumer', 'x-goog-iap-jwt-assertion', 'x-authorization', 'x-account-id', 'x-admin'],
  ...['remote-user', 'remote-name', 'remote-email', 'remote-group', 'remote-groups', 'remote-addr'],
  ...['x-real-ip', 'x-client-ip', 'client-ip', 'true-client-ip', 'cf-connecting-ip', 'fastly-client-ip'],
  ...['x-cluster-client-ip', 'x-original-forwarded-for', 'x-envoy-external-address', 'x-original-host'],
];

/** Likewise, all that begin so. */
const ofIdentityBegin: readonly string[] = [
  ...['x-auth-', 'x-authenticated-', 'x-remote-', 'x-consumer-', 'x-jwt-', 'x-webauth-', 'x-token-'],
  ...['x-goog-authenticated-', 'x-amzn-oidc-', 'x-ms-client-principal', 'x-ms-token-', 'cf-access-'],
  ...['x-ssl-client', 'ssl-client', 'x-client-cert', 'x-client-dn', 'x-client-verify', 'x-tls-client'],
  ...['tailscale-', 'x-pomerium-', 'x-vouch-', 'impersonate-', 'x-impersonate-'],
];

/** Names under which some frameworks take another method or path than that of the request, which the table allows. */
const ofTarget: readonly string[] = [
  ...['x-http-method', 'x-http-method-override', 'x-method-override'],
  ...['x-original-url', 'x-original-uri', 'x-original-method', 'x-rewrite-url'],
];

const names = new Set([...ofIdentity, ...ofTarget]);

/**
 * Whether a header, its name in lower case, is not for clients to say. `_` counts as `-`, for there are services that
 * cannot tell the two apart (RFC 3875, section 4.1.18).
 */
export function isUntrusted(name: string): boolean {
  const plain = name.replaceAll('_', '-');
  // With another spelling, what the gateway reads itself would reach a service that does not see the difference.
  const respelt = plain !== name && readHere.has(plain);
  return respelt || names.has(plain) || ofIdentityBegin.some((begin) => plain.startsWith(begin));
}

const readHere = new Set([
  ...['authorization', 'host', 'content-length', 'transfer-encoding', 'forwarded', 'x-forwarded-for'],
  ...['x-forwarded-host', 'x-forwarded-proto', 'x-correlation-id', 'x-request-timeout-ms', 'idempotency-key'],
]);
