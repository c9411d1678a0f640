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

/** The variables of identity, read. */
export type IdentityConfig = AuthConfig & z.output<z.ZodObject<ReturnType<typeof identityVariables>>>;

/** What makes this service the issuer of access tokens. */
export interface Issuer {
  readonly name: string;
  readonly secrets: KeySecrets;
  readonly keys: SigningKeys;
  /** The published keys; from memory while the database is unavailable. */
  readonly published: () => Promise<PublishedCopy>;
  readonly tokens: AccessTokens;
}

/** Whether the configuration makes this service the issuer: it has a secret for keys, and is not told of keys of another one. */
function isIssuer(config: IdentityConfig): boolean {
  return config.AUTH_JWKS_URL === undefined && config.AUTH_KEY_SECRET !== undefined;
}

/**
 * Looks whether anybody issues access tokens, before anything is opened.
 * @throws StartupError (78) when they are required and nobody does, or when the first admin is named by half or has a common password
 */
export function requireIssuer(config: IdentityConfig): void {
  if (config.AUTH === 'required' && config.AUTH_JWKS_URL === undefined && !isIssuer(config)) {
    throw new StartupError(
      'AUTH_KEY_SECRET must be set, for access tokens are required: or AUTH_JWKS_URL with the keys of another issuer, or AUTH=off, which lets everybody do everything',
      78,
    );
  }
  const { AUTH_ADMIN_EMAIL: email, AUTH_ADMIN_PASSWORD: password } = config;
  if ((email === undefined) !== (password === undefined)) {
    throw new StartupError('AUTH_ADMIN_EMAIL and AUTH_ADMIN_PASSWORD must be set together', 78);
  }
  const weakness =
    email === undefined || password === undefined
      ? undefined
      : weaknessOf(password, { email, name: adminName });
  if (weakness !== undefined)
    throw new StartupError(`AUTH_ADMIN_PASSWORD ${weakness}: set one that is hard to guess`, 78);
}

/** What AUTH_KEY_SECRET is used for, whether or not this service is the issuer; undefined where it is not set. */
export function openKeySecrets({
  AUTH_KEY_SECRET: secret,
  AUTH_KEY_SECRET_PREVIOUS: previous,
}: Pick<IdentityConfig, 'AUTH_KEY_SECRET' | 'AUTH_KEY_SECRET_PREVIOUS'>): KeySecrets | undefined {
  if (secret === undefined) return undefined;
  return createKeySecrets(previous === undefined ? [secret] : [secret, previous]);
}

/** Makes this service the issuer; undefined where the configuration does not. */
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

/** Milliseconds that this service keeps its own keys: another replica may make one. */
const keptMs = 10_000;

/** The keys of this service for its own verifier, which needs no detour to get them. */
export function ownKeys({ published }: Issuer): Omit<KeySetOptions, 'onFailure'> {
  return { load: published, maxAgeMs: keptMs, cooldownMs: 1000 };
}
