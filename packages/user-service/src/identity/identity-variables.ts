import { proxyVariables } from '@zerda/chassis/config/proxy-variables';
import { count, flag } from '@zerda/chassis/config/values';
import { newPassword } from '@zerda/contracts/passwords';
import { email } from '@zerda/contracts/users';
import { z } from 'zod';

/** Name of the first admin, where the service creates the user. */
export const adminName = 'Administrator';

const secret = () => z.string().min(32, 'must have at least 32 characters');

/** The variables of who can log in, and how. */
export function identityVariables() {
  return {
    AUTH_KEY_SECRET: secret()
      .optional()
      .describe(
        'Secret of at least 32 characters, the same for all replicas, that the keys of access tokens are encrypted with in the database. Needed to log in here; of no use with AUTH_JWKS_URL.',
      ),
    AUTH_KEY_SECRET_PREVIOUS: secret()
      .optional()
      .describe(
        'Second secret that keys are read with, while AUTH_KEY_SECRET is replaced: until the next two `keys rotate` have ended.',
      ),
    AUTH_ACCESS_TOKEN_SECONDS: count(60, 3600)
      .default(600)
      .describe(
        'Seconds that an access token is good for: also of a user who was deleted or is an admin no more.',
      ),
    AUTH_SESSION_HOURS: count(1, 8760)
      .default(720)
      .describe('Hours from a login until the user has to log in again, however often they refresh.'),
    AUTH_SIGN_UP: flag()
      .default(false)
      .describe(
        'Lets anybody make a user of their own, with the role `user`; when false, admins make users.',
      ),
    AUTH_ADMIN_EMAIL: email
      .optional()
      .describe(
        'E-mail address of the first admin. At startup, while no admin has a password, the user with this address becomes an admin with AUTH_ADMIN_PASSWORD, and is created when there is none.',
      ),
    AUTH_ADMIN_PASSWORD: newPassword
      .optional()
      .describe(
        'Password of the first admin, of 8 characters or more; changed later, it is not changed back.',
      ),
    PASSWORD_CONCURRENCY: count(1, 64)
      .default(1)
      .describe(
        'Passwords that are checked or hashed at the same time: each takes 19 MiB, and a core for some 20 ms.',
      ),
    PASSWORD_QUEUE: count(0, 10_000)
      .default(50)
      .describe(
        'Requests that wait for that, at most 1.5 s each: a third of the places is for logins from addresses where the user has logged in before, a sixth each for logins that were refused before, for other logins, for new passwords and for sign-up. Further requests get 503.',
      ),
    ...proxyVariables(),
  };
}
