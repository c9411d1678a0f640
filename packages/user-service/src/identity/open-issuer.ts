import type { KeySetOptions } from '@zerda/chassis/auth/key-set';
import type { AuthConfig } from '@zerda/chassis/auth/open-verifier';
import type { Database } from '@zerda/chassis/database/database';
import { StartupError } from '@zerda/chassis/startup-error';
import type { z } from 'zod';
import { type AccessTokens, createAccessTokens } from './access-tokens.ts';
import { adminName, type identityVariables } from './identity-variables.ts';
import { createKeySecrets, type KeySecrets } from './key-secrets.ts';
import { weaknessOf } from './password-rules.ts';
import { createPublishedKeys, type PublishedCopy } from './published-keys.ts';
import { createSigningKeys, type SigningKeys } from './signing-keys.ts';

/** Parsed environment variables of identity. */
export type IdentityConfig = AuthConfig & z.output<z.ZodObject<ReturnType<typeof identityVariables>>>;

/** The issuer of access tokens in this service. */
export interface Issuer {
  readonly name: string;
  readonly secrets: KeySecrets;
  readonly keys: SigningKeys;
  /** The published keys; from memory while the database is unavailable. */
  readonly published: () => Promise<PublishedCopy>;
  readonly tokens: AccessTokens;
}

/** Returns whether this service is the issuer: AUTH_KEY_SECRET is set and AUTH_JWKS_URL is not. */
function isIssuer(config: IdentityConfig): boolean {
  return config.AUTH_JWKS_URL === undefined && config.AUTH_KEY_SECRET !== undefined;
}

/**
 * Validates the configuration of the issuer before any resource is opened.
 * @throws StartupError (78) if access tokens are required but no issuer is configured, if only one of the variables of the first admin
 * is set, or if its password is weak
 */
export function requireIssuer(config: IdentityConfig): void {
  if (config.AUTH === 'required' && config.AUTH_JWKS_URL === undefined && !isIssuer(config)) {
    throw new StartupError(
      'AUTH=required needs an issuer of access tokens. Set AUTH_KEY_SECRET, or set AUTH_JWKS_URL to the keys of an external issuer, or set AUTH=off to disable authentication.',
      78,
    );
  }
  const { AUTH_ADMIN_EMAIL: email, AUTH_ADMIN_PASSWORD: password } = config;
  if ((email === undefined) !== (password === undefined)) {
    throw new StartupError('Set AUTH_ADMIN_EMAIL and AUTH_ADMIN_PASSWORD together, or neither.', 78);
  }
  const weakness =
    email === undefined || password === undefined
      ? undefined
      : weaknessOf(password, { email, name: adminName });
  if (weakness !== undefined)
    throw new StartupError(`AUTH_ADMIN_PASSWORD ${weakness}. Set a password that is hard to guess.`, 78);
}

/** Creates the key secrets, whether or not this service is the issuer. Returns undefined if AUTH_KEY_SECRET is not set. */
export function openKeySecrets({
  AUTH_KEY_SECRET: secret,
  AUTH_KEY_SECRET_PREVIOUS: previous,
}: Pick<IdentityConfig, 'AUTH_KEY_SECRET' | 'AUTH_KEY_SECRET_PREVIOUS'>): KeySecrets | undefined {
  if (secret === undefined) return undefined;
  return createKeySecrets(previous === undefined ? [secret] : [secret, previous]);
}

/** Creates the issuer. Returns undefined if this service is not the issuer. */
export function openIssuer(config: IdentityConfig, database: Database): Issuer | undefined {
  const secrets = openKeySecrets(config);
  if (secrets === undefined || !isIssuer(config)) return undefined;
  const keys = createSigningKeys({ database, secrets, tokenSeconds: config.AUTH_ACCESS_TOKEN_SECONDS });
  const tokens = createAccessTokens({
    keys,
    issuer: config.AUTH_ISSUER,
    audience: config.AUTH_AUDIENCE,
    seconds: config.AUTH_ACCESS_TOKEN_SECONDS,
    claims: { role: config.AUTH_ROLE_CLAIM, userId: config.AUTH_USER_ID_CLAIM },
    adminRole: config.AUTH_ADMIN_ROLE,
  });
  const published = createPublishedKeys({ read: () => keys.published() });
  return { name: config.AUTH_ISSUER, secrets, keys, published, tokens };
}

/** Milliseconds for which the verifier caches the keys, because another replica can create one. */
const maxAgeMs = 10_000;

/** Returns the key source for the verifier of this service, which reads the keys without an HTTP request. */
export function issuerKeys({ published }: Issuer): Omit<KeySetOptions, 'onFailure'> {
  return { load: published, maxAgeMs, cooldownMs: 1000 };
}
