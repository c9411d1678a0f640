import type { z } from 'zod';
import type { authVariables } from '../config/auth-variables.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { fetchKeys } from './fetch-keys.ts';
import { registerKeyMetrics } from './key-metrics.ts';
import { createKeySet, type KeyCopy, type KeySet, type KeySetOptions, type LoadKeys } from './key-set.ts';
import { createTokenVerifier, type TokenVerifier } from './token-verifier.ts';

/** Parsed values of `authVariables`. */
export type AuthConfig = z.output<z.ZodObject<ReturnType<typeof authVariables>>>;

/** The verifier of access tokens; `off` if authentication is disabled. */
export type Authentication = TokenVerifier | 'off';

/** Path of the JWKS of a service: user-service serves its own keys, order-service a copy. */
export const keysPath = '/.well-known/jwks.json';

/** A verifier and its key set. */
export interface OpenedVerifier {
  readonly authentication: Authentication;
  /** Undefined if authentication is off. */
  readonly keySet: KeySet | undefined;
}

export interface OpenVerifierOptions {
  readonly config: AuthConfig;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Options of the key set, including the source of the keys; by default AUTH_JWKS_URL, or user-service at `userServiceUrl`. */
  readonly keys?: Omit<KeySetOptions, 'onFailure'> | undefined;
  /** Base URL of user-service, the source of the keys if AUTH_JWKS_URL is not set. */
  readonly userServiceUrl?: string;
  /** Base URL of a service with a copy of the keys, used while user-service or its database is unavailable. */
  readonly copyUrl?: string | undefined;
  /** Persistent copy of the keys; `source` is their URL. */
  readonly store?: KeyStore | undefined;
  readonly metrics: Pick<Metrics, 'registry'>;
}

/** Stores the last keys of an issuer. */
export interface KeyStore {
  save(source: string, keys: KeyCopy): Promise<void>;
  /** @throws Error if no keys of this source are stored */
  load(source: string): Promise<Required<KeyCopy>>;
}

/** Creates the verifier of access tokens from the configuration, logs the mode and starts to load the keys. */
export function openVerifier({
  config,
  logger,
  keys,
  userServiceUrl,
  copyUrl,
  store,
  metrics,
}: OpenVerifierOptions): OpenedVerifier {
  if (config.AUTH === 'off') {
    logger.warn('authentication disabled (AUTH=off)');
    return { authentication: 'off', keySet: undefined };
  }
  const url = config.AUTH_JWKS_URL ?? keysUrl(userServiceUrl ?? '');
  logger.info({ issuer: config.AUTH_ISSUER }, 'authentication required');
  const fallbacks: LoadKeys[] = [];
  if (store !== undefined) fallbacks.push(() => store.load(url));
  if (copyUrl !== undefined) fallbacks.push(fetchKeys(keysUrl(copyUrl), { aged: true }));
  const keyMetrics = registerKeyMetrics(metrics.registry);
  const keySet = createKeySet({
    load: fetchKeys(url, { aged: config.AUTH_JWKS_URL === undefined }),
    fallbacks,
    onLoad(loaded) {
      keyMetrics.fetched('succeeded');
      store?.save(url, loaded).catch((error: unknown) => {
        logger.warn({ err: error }, 'storing JWKS failed');
      });
    },
    ...keys,
    onFailure(error) {
      keyMetrics.fetched('failed');
      logger.warn({ err: error }, 'JWKS fetch failed');
    },
  });
  keyMetrics.age(() => keySet.ageMs() / 1000);
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
