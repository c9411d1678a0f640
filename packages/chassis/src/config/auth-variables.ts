import { z } from 'zod';
import { tokenTypes } from '../auth/token-type.ts';
import { tokenAlgorithms } from '../auth/token-verifier.ts';
import { StartupError } from '../startup-error.ts';
import { count, flag, httpUrl } from './values.ts';

/** Variables of authentication. All services must have the same values, or one service rejects tokens that another accepts. */
export function authVariables() {
  return {
    AUTH: z
      .enum(['required', 'off'], { error: 'must be required or off' })
      .default('required')
      .describe(
        '`required`: requests need an access token, and users can access only their own data. `off`: every request is allowed, for development. With NODE_ENV=production, `off` also needs ALLOW_UNAUTHENTICATED.',
      ),
    ALLOW_UNAUTHENTICATED: flag().default(false).describe('Allows AUTH=off with NODE_ENV=production.'),
    AUTH_ISSUER: z
      .string()
      .max(255)
      .default('http://127.0.0.1:8001')
      .describe(
        'Issuer (`iss`) of access tokens. If user-service issues them, any URL works, as long as it does not change.',
      ),
    AUTH_AUDIENCE: z
      .string()
      .max(255)
      .default('zerda')
      .describe('Required audience (`aud`) of access tokens.'),
    AUTH_JWKS_URL: httpUrl()
      .optional()
      .describe(
        'JWKS URL of an issuer other than user-service. If not set, the keys come from user-service.',
      ),
    AUTH_ALGORITHMS: z
      .string()
      .default('EdDSA')
      .transform((text) => text.split(',').map((name) => name.trim()))
      .pipe(
        z.array(
          z.enum(tokenAlgorithms, {
            error: `must be a comma-separated list of ${tokenAlgorithms.join(', ')}`,
          }),
        ),
      )
      .describe(
        'Accepted signature algorithms of access tokens, comma-separated: EdDSA (used by user-service), ES256, RS256, PS256.',
      ),
    AUTH_TOKEN_TYPES: z
      .string()
      .default('at+jwt')
      .transform((text) => text.split(',').map((name) => name.trim()))
      .pipe(
        z.array(z.enum(tokenTypes, { error: `must be a comma-separated list of ${tokenTypes.join(', ')}` })),
      )
      .describe(
        'Accepted types (`typ`) of access tokens, comma-separated: `at+jwt` (RFC 9068), and `JWT` for issuers that set this type or none, such as Keycloak and Auth0. With `JWT`, ID, refresh and logout tokens are still rejected by their claims.',
      ),
    AUTH_ROLE_CLAIM: z
      .string()
      .default('role')
      .describe(
        'Claim with the role or roles of the caller: a name or a dot-separated path such as `realm_access.roles`.',
      ),
    AUTH_ADMIN_ROLE: z.string().default('admin').describe('Value of the role claim that identifies admins.'),
    AUTH_USER_ID_CLAIM: z
      .string()
      .default('user_id')
      .describe('Claim with the id of the caller in user-service: a name or a dot-separated path.'),
    AUTH_CLOCK_SKEW_SECONDS: count(0, 60)
      .default(5)
      .describe('Allowed clock difference between issuer and service, in seconds.'),
  };
}

/** Parsed variables that decide whether a process may run without authentication. */
export interface UnauthenticatedModeConfig {
  readonly NODE_ENV?: string | undefined;
  readonly AUTH?: 'required' | 'off';
  readonly ALLOW_UNAUTHENTICATED?: boolean;
}

/**
 * Rejects AUTH=off in production unless ALLOW_UNAUTHENTICATED is set.
 * @throws StartupError (78)
 */
export function rejectUnauthenticatedProduction({
  NODE_ENV,
  AUTH,
  ALLOW_UNAUTHENTICATED,
}: UnauthenticatedModeConfig): void {
  if (NODE_ENV !== 'production' || AUTH !== 'off' || ALLOW_UNAUTHENTICATED) return;
  throw new StartupError(
    'AUTH=off is not allowed with NODE_ENV=production. Set AUTH=required, or ALLOW_UNAUTHENTICATED=true to allow unauthenticated access.',
    78,
  );
}
