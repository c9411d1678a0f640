import type { z } from 'zod';
import type { authVariables } from '../config/auth-variables.ts';
import type { Logger } from '../logging/logger.ts';
import { fetchKeys } from './fetch-keys.ts';
import { createKeySet, type KeySetOptions } from './key-set.ts';
import { createTokenVerifier, type TokenVerifier } from './token-verifier.ts';

/** The variables of `authVariables`, read. */
export type AuthConfig = z.output<z.ZodObject<ReturnType<typeof authVariables>>>;

/** Who verifies access tokens; `off` when everybody may do everything. */
export type Authentication = TokenVerifier | 'off';

export interface OpenVerifierOptions {
  readonly config: AuthConfig;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Where keys come from; default: AUTH_JWKS_URL, or user-service at `userServiceUrl`. */
  readonly keys?: Omit<KeySetOptions, 'onFailure'> | undefined;
  /** Base URL of user-service, which has the keys when no other issuer is set. */
  readonly userServiceUrl?: string;
}

/** What is known of access tokens, as the configuration says; the log tells which it is. */
export function openVerifier({ config, logger, keys, userServiceUrl }: OpenVerifierOptions): Authentication {
  if (config.AUTH === 'off') {
    logger.warn('authentication is off: everybody may do everything (AUTH=required asks for access tokens)');
    return 'off';
  }
  const url = config.AUTH_JWKS_URL ?? `${userServiceUrl?.replace(/\/$/, '')}/.well-known/jwks.json`;
  logger.info({ issuer: config.AUTH_ISSUER }, 'authentication is required');
  return createTokenVerifier({
    keys: createKeySet({
      ...(keys ?? { load: fetchKeys(url) }),
      onFailure: (error) => logger.warn({ err: error }, 'the keys of access tokens could not be had'),
    }),
    issuer: config.AUTH_ISSUER,
    audience: config.AUTH_AUDIENCE,
    algorithms: config.AUTH_ALGORITHMS,
    types: config.AUTH_TOKEN_TYPES,
    roleClaim: config.AUTH_ROLE_CLAIM,
    adminRole: config.AUTH_ADMIN_ROLE,
    userIdClaim: config.AUTH_USER_ID_CLAIM,
    clockSkewSeconds: config.AUTH_CLOCK_SKEW_SECONDS,
  });
}
