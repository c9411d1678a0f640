import { z } from 'zod';
import { tokenTypes } from '../auth/token-type.ts';
import { tokenAlgorithms } from '../auth/token-verifier.ts';
import { StartupError } from '../startup-error.ts';
import { count, flag, httpUrl } from './values.ts';

/** The variables of who may ask: the same for every service, or a token that is good at one is refused at another. */
export function authVariables() {
  return {
    AUTH: z
      .enum(['required', 'off'], { error: 'must be required or off' })
      .default('required')
      .describe(
        '`required`: a request needs an access token, and users reach only their own data. `off`: every request is allowed, for development; with NODE_ENV=production it needs ALLOW_UNAUTHENTICATED.',
      ),
    ALLOW_UNAUTHENTICATED: flag()
      .default(false)
      .describe('Allows AUTH=off although NODE_ENV is `production`.'),
    AUTH_ISSUER: z
      .string()
      .max(255)
      .default('http://127.0.0.1:8001')
      .describe('Who issues access tokens: their `iss`. Of user-service, any URL that stays the same.'),
    AUTH_AUDIENCE: z
      .string()
      .max(255)
      .default('zerda')
      .describe('Whom access tokens are for: among their `aud`.'),
    AUTH_JWKS_URL: httpUrl()
      .optional()
      .describe(
        'Where the keys of access tokens are (JWKS), with an issuer other than user-service; when not set, at user-service.',
      ),
    AUTH_ALGORITHMS: z
      .string()
      .default('EdDSA')
      .transform((text) => text.split(',').map((name) => name.trim()))
      .pipe(
        z.array(
          z.enum(tokenAlgorithms, { error: `must be of ${tokenAlgorithms.join(', ')}, joined by commas` }),
        ),
      )
      .describe(
        'Ways in which access tokens may be signed, joined by commas: EdDSA, as user-service does, ES256, RS256, PS256.',
      ),
    AUTH_TOKEN_TYPES: z
      .string()
      .default('at+jwt')
      .transform((text) => text.split(',').map((name) => name.trim()))
      .pipe(z.array(z.enum(tokenTypes, { error: `must be of ${tokenTypes.join(', ')}, joined by commas` })))
      .describe(
        'Types (`typ`) of access tokens, joined by commas: `at+jwt` (RFC 9068), and `JWT` for an issuer whose access tokens have that type or none, such as Keycloak and Auth0. With `JWT`, tokens whose claims show that they are ID, refresh or logout tokens are still refused.',
      ),
    AUTH_ROLE_CLAIM: z
      .string()
      .default('role')
      .describe('Claim with the role or roles of the caller; dots lead into it: `realm_access.roles`.'),
    AUTH_ADMIN_ROLE: z.string().default('admin').describe('Role, in that claim, that makes an admin.'),
    AUTH_USER_ID_CLAIM: z
      .string()
      .default('user_id')
      .describe('Claim with the id of the caller in user-service; dots lead into it.'),
    AUTH_CLOCK_SKEW_SECONDS: count(0, 60)
      .default(5)
      .describe('Seconds that the clocks of issuer and service may differ by.'),
  };
}

/** The variables that decide whether a process may run without authentication, read. */
export interface OpennessConfig {
  readonly NODE_ENV?: string | undefined;
  readonly AUTH?: 'required' | 'off';
  readonly ALLOW_UNAUTHENTICATED?: boolean;
}

/**
 * Refuses to run in production without authentication unless a second variable says that it is meant.
 * @throws StartupError (78)
 */
export function requireMeantOpenness({ NODE_ENV, AUTH, ALLOW_UNAUTHENTICATED }: OpennessConfig): void {
  if (NODE_ENV !== 'production' || AUTH !== 'off' || ALLOW_UNAUTHENTICATED) return;
  throw new StartupError(
    'AUTH=off lets every client do everything, and NODE_ENV is production: set AUTH=required (ALLOW_UNAUTHENTICATED=true allows it all the same)',
    78,
  );
}
