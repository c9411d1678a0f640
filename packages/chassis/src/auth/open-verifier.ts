import type { z } from 'zod';
import type { authVariables } from '../config/auth-variables.ts';
import type { Logger } from '../logging/logger.ts';
import { fetchKeys } from './fetch-keys.ts';
import { createKeySet, type KeyCopy, type KeySet, type KeySetOptions, type LoadKeys } from './key-set.ts';
import { createTokenVerifier, type TokenVerifier } from './token-verifier.ts';

/** The variables of `authVariables`, read. */
export type AuthConfig = z.output<z.ZodObject<ReturnType<typeof authVariables>>>;

/** Who verifies access tokens; `off` when everybody may do everything. */
export type Authentication = TokenVerifier | 'off';

/** Path at which services serve the keys of access tokens: user-service its own, order-service its copy. */
export const keysPath = '/.well-known/jwks.json';

/** A verifier with the keys that it uses. */
export interface OpenedVerifier {
  readonly authentication: Authentication;
  /** Undefined when authentication is off. */
  readonly keySet: KeySet | undefined;
}

export interface OpenVerifierOptions {
  readonly config: AuthConfig;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Where keys come from; default: AUTH_JWKS_URL, or user-service at `userServiceUrl`. */
  readonly keys?: Omit<KeySetOptions, 'onFailure'> | undefined;
  /** Base URL of user-service, which has the keys when no other issuer is set. */
  readonly userServiceUrl?: string;
  /** Base URL of a service with a copy of the keys, for the time in which user-service or its database is unavailable. */
  readonly copyUrl?: string | undefined;
  /** A copy of the keys that outlives the process; `source` is the URL that they come from. */
  readonly store?: KeyStore | undefined;
}

/** Keeps the last keys of an issuer. */
export interface KeyStore {
  save(source: string, keys: KeyCopy): Promise<void>;
  /** @throws Error when there are none of that source */
  load(source: string): Promise<Required<KeyCopy>>;
}

/** Opens the verifier of access tokens that the configuration describes, logs which it is, and starts to load its keys. */
export function openVerifier({
  config,
  logger,
  keys,
  userServiceUrl,
  copyUrl,
  store,
}: OpenVerifierOptions): OpenedVerifier {
  if (config.AUTH === 'off') {
    logger.warn('authentication is off: everybody may do everything (AUTH=required asks for access tokens)');
    return { authentication: 'off', keySet: undefined };
  }
  const url = config.AUTH_JWKS_URL ?? keysUrl(userServiceUrl ?? '');
  logger.info({ issuer: config.AUTH_ISSUER }, 'authentication is required');
  const fallbacks: LoadKeys[] = [];
  if (store !== undefined) fallbacks.push(() => store.load(url));
  if (copyUrl !== undefined) fallbacks.push(fetchKeys(keysUrl(copyUrl), { aged: true }));
  const keySet = createKeySet({
    load: fetchKeys(url, { aged: config.AUTH_JWKS_URL === undefined }),
    fallbacks,
    onLoad(loaded) {
      store?.save(url, loaded).catch((error: unknown) => {
        logger.warn({ err: error }, 'keys of access tokens not stored');
      });
    },
    ...keys,
    onFailure: (error) => logger.warn({ err: error }, 'the keys of access tokens could not be had'),
  });
  keySet.prime();
  const authentication = createTokenVerifier({
    keys: keySet,
    issuer: config.AUTH_ISSUER,
    audience: config.AUTH_AUDIENCE,
    algorithms: config.AUTH_ALGORITHMS,
    types: config.AUTH_TOKEN_TYPES,
    roleClaim: config.AUTH_ROLE_CLAIM,
    adminRole: config.AUTH_ADMIN_ROLE,
    userIdClaim: config.AUTH_USER_ID_CLAIM,
    clockSkewSeconds: config.AUTH_CLOCK_SKEW_SECONDS,
  });
  return { authentication, keySet };
}

function keysUrl(baseUrl: string): string {
  return `${baseUrl.replace(/\/$/, '')}${keysPath}`;
}
