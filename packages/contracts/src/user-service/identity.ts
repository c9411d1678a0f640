import { z } from 'zod';
import { success } from '../protocol/envelope.ts';
import { defineOperation } from '../protocol/operation.ts';
import { existingPassword } from './passwords.ts';
import { email } from './users.ts';

const tag = 'Identity';

const credentials = z.strictObject({ email, password: existingPassword }).meta({
  id: 'Credentials',
  description: 'E-mail address and password of a user.',
  examples: [{ email: 'john@example.com', password: 'correct horse battery' }],
});

/** Any text: a malformed token gets the same 401 as an expired one. */
const refreshToken = z.string().min(1).max(512);

const refreshRequest = z.strictObject({ refresh_token: refreshToken }).meta({
  id: 'RefreshRequest',
  description: 'Refresh token of a session, from the latest login or refresh response.',
  examples: [{ refresh_token: 'F0Wb5hCqJ0i7h1Vw2yJmIvTkZ6gY8rQeLxNpUdSaOcE' }],
});

/** Member names are those of OAuth 2.0 (RFC 6749, section 5.1). */
const tokens = z
  .strictObject({
    access_token: z.string().describe('JWT for the header `Authorization: Bearer`.'),
    token_type: z.literal('Bearer'),
    expires_in: z.int().min(1).describe('Lifetime of the access token in seconds.'),
    refresh_token: z
      .string()
      .describe('Can be exchanged once for new tokens. Store it as securely as a password.'),
    refresh_expires_in: z.int().min(1).describe('Lifetime of the refresh token in seconds.'),
  })
  .meta({
    id: 'Tokens',
    description:
      'Access token and refresh token of a session, with the member names of OAuth 2.0 (RFC 6749).',
  });

export type Tokens = z.infer<typeof tokens>;

/** Public key that verifies access tokens (RFC 7517, RFC 8037). */
const publicKey = z
  .strictObject({
    kty: z.literal('OKP'),
    crv: z.literal('Ed25519'),
    x: z.string(),
    kid: z.string(),
    alg: z.literal('EdDSA'),
    use: z.literal('sig'),
  })
  .meta({ id: 'PublicKey', description: 'Ed25519 public key as a JSON Web Key (RFC 7517, RFC 8037).' });

export type PublicKey = z.infer<typeof publicKey>;

const keySet = z
  .strictObject({ keys: z.array(publicKey) })
  .meta({ id: 'KeySet', description: 'JSON Web Key Set with all keys that verify valid access tokens.' });

/** Metadata that verifiers of access tokens need (OpenID Connect Discovery 1.0, section 3). */
const issuerMetadata = z
  .strictObject({
    issuer: z.string(),
    jwks_uri: z.string(),
    id_token_signing_alg_values_supported: z.array(z.string()),
    response_types_supported: z.array(z.string()),
    subject_types_supported: z.array(z.string()),
    claims_supported: z.array(z.string()),
  })
  .meta({
    id: 'IssuerMetadata',
    description: 'Subset of OpenID Connect Discovery 1.0 that verifiers of access tokens need.',
  });

/** Sessions, and the keys and metadata for verifying access tokens. Part of the API of user-service. */
export const identityOperations = {
  login: defineOperation({
    id: 'login',
    method: 'post',
    path: '/api/auth/login',
    access: 'public',
    audit: 'session.create',
    summary: 'Log in',
    description:
      'Starts a session. The access token is valid for minutes; the refresh token can be exchanged for new tokens.',
    tag,
    body: credentials,
    response: { status: 200, description: 'The tokens of the session.', schema: success(tokens) },
    problems: ['login-failed', 'login-throttled', 'login-overloaded', 'identity-unavailable'],
  }),
  refresh: defineOperation({
    id: 'refresh',
    method: 'post',
    path: '/api/auth/refresh',
    access: 'public',
    audit: 'session.refresh',
    summary: 'Refresh a session',
    description:
      'Exchanges the refresh token for new tokens. Each refresh token can be used once. Reuse indicates theft and ends the session, except within a few seconds, when it returns the same refresh token to a client that missed the response.',
    tag,
    body: refreshRequest,
    response: { status: 200, description: 'The new tokens of the session.', schema: success(tokens) },
    problems: ['session-ended', 'identity-unavailable'],
  }),
  logout: defineOperation({
    id: 'logout',
    method: 'post',
    path: '/api/auth/logout',
    access: 'public',
    audit: 'session.revoke',
    summary: 'End a session',
    description:
      'Revokes the refresh tokens of the session. Access tokens remain valid until they expire, a few minutes later. The response is the same for an unknown token.',
    tag,
    body: refreshRequest,
    response: {
      status: 200,
      description: 'The session ended.',
      schema: success(z.strictObject({ message: z.literal('Logged out') })),
    },
    problems: [],
  }),
  publicKeys: defineOperation({
    id: 'publicKeys',
    method: 'get',
    path: '/.well-known/jwks.json',
    access: 'public',
    summary: 'Public keys of access tokens',
    description:
      'Returns the JSON Web Key Set (RFC 7517) that verifies access tokens. Around a rotation it also contains the previous or the next key.',
    tag,
    response: {
      status: 200,
      description: 'The current key and, around a rotation, the previous or the next key.',
      schema: keySet,
    },
    problems: ['identity-unavailable'],
  }),
  issuerMetadata: defineOperation({
    id: 'issuerMetadata',
    method: 'get',
    path: '/.well-known/openid-configuration',
    access: 'public',
    summary: 'Metadata of the issuer',
    description:
      'Returns the URL of the public keys and the signature algorithm, as OpenID Connect Discovery 1.0 defines them.',
    tag,
    response: { status: 200, description: 'The metadata of the issuer.', schema: issuerMetadata },
    problems: [],
  }),
} as const;
