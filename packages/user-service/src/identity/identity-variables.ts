import { proxyVariables } from '@zerda/chassis/config/proxy-variables';
import { count, flag, secret } from '@zerda/chassis/config/values';
import { newPassword } from '@zerda/contracts/user-service/passwords';
import { email } from '@zerda/contracts/user-service/users';

/** Name of the first admin if the service creates the user. */
export const adminName = 'Administrator';

/** Returns the environment variables for logins, sessions and signing keys. */
export function identityVariables() {
  return {
    AUTH_KEY_SECRET: secret()
      .optional()
      .describe(
        'Secret of at least 32 characters that encrypts the signing keys of access tokens in the database. It must be the same for all replicas. Required for logins; unused with AUTH_JWKS_URL.',
      ),
    AUTH_KEY_SECRET_PREVIOUS: secret()
      .optional()
      .describe(
        'Previous value of AUTH_KEY_SECRET, which decrypts existing keys while the secret is replaced. Remove it after two completed `keys rotate`.',
      ),
    AUTH_ACCESS_TOKEN_SECONDS: count(60, 3600)
      .default(600)
      .describe(
        'Lifetime of an access token in seconds. It also applies to users who were deleted or lost the role admin.',
      ),
    AUTH_SESSION_HOURS: count(1, 8760)
      .default(720)
      .describe('Lifetime of a session in hours. Refreshing does not extend it.'),
    AUTH_SIGN_UP: flag()
      .default(false)
      .describe(
        'Allows anonymous clients to create users with the role `user`. If false, only admins create users.',
      ),
    AUTH_ADMIN_EMAIL: email
      .optional()
      .describe(
        'E-mail address of the first admin. If no admin has a password at startup, the user with this address becomes an admin with AUTH_ADMIN_PASSWORD; a missing user is created.',
      ),
    AUTH_ADMIN_PASSWORD: newPassword
      .optional()
      .describe(
        'Password of the first admin, at least 8 characters. A password that was changed later is not overwritten.',
      ),
    PASSWORD_CONCURRENCY: count(1, 64)
      .default(1)
      .describe(
        'Maximum number of concurrent password hashes. Each one uses 19 MiB of memory and about 20 ms of CPU time.',
      ),
    PASSWORD_QUEUE: count(0, 10_000)
      .default(50)
      .describe(
        'Maximum number of requests that wait for password hashing, at most 1.5 s each; further requests get 503. A third of the queue is reserved for logins from known addresses of the user, and a sixth each for retried logins, other logins, new passwords and sign-ups.',
      ),
    ...proxyVariables(),
  };
}
