import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { runCommand } from './lib/command.ts';

/** Audience of the token, which the cluster accepts. */
const audience = 'zerda-deployment';

/** Time in which GitHub must respond, in milliseconds. */
const timeoutMs = 10_000;

/**
 * Prints the OIDC token of the GitHub job as an ExecCredential, so that kubectl and Helm log in to the cluster without a stored secret.
 * They run it again when the token expires. The job needs the permission `id-token: write`.
 */
await runCommand(async () => {
  const { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: requestToken } = process.env;
  if (!url || !requestToken)
    throw new StartupError(
      'There is no OIDC token: run this in a GitHub job with the permission id-token: write.',
      78,
    );
  const response = await fetch(`${url}&audience=${audience}`, {
    headers: { authorization: `Bearer ${requestToken}` },
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (!response.ok) throw new StartupError(`GitHub returned ${response.status} instead of an OIDC token.`);
  const { value: token } = (await response.json()) as { value: string };
  const claims = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString();
  const { exp } = JSON.parse(claims) as { exp: number };
  const expirationTimestamp = new Date(exp * 1000).toISOString();
  console.log(
    JSON.stringify({
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token, expirationTimestamp },
    }),
  );
  return 0;
});
