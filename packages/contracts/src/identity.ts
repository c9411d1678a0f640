import { z } from 'zod';
import { givenPassword } from './passwords.ts';
import { success } from './protocol/envelope.ts';
import { defineOperation } from './protocol/operation.ts';
import { email } from './users.ts';

const tag = 'Identity';

/** Who wants to log in. */
const credentials = z
  .strictObject({ email, password: givenPassword })
  .meta({ id: 'Credentials', examples: [{ email: 'john@example.com', password: 'correct horse battery' }] });

/** Whatever is no token of ours is refused as one that is not good any more. */
const refreshToken = z.string().min(1).max(512);

const refreshRequest = z.strictObject({ refresh_token: refreshToken }).meta({
  id: 'RefreshRequest',
  examples: [{ refresh_token: 'F0Wb5hCqJ0i7h1Vw2yJmIvTkZ6gY8rQeLxNpUdSaOcE' }],
});

/** Members are named as OAuth 2.0 names them (RFC 6749, section 5.1). */
const tokens = z
  .strictObject({
    access_token: z.string().describe('Goes into `Authorization: Bearer`.'),
    token_type: z.literal('Bearer'),
    expires_in: z.int().min(1).describe('Seconds that the access token is good for.'),
    refresh_token: z
      .string()
      .describe('Buys the next pair, once. Whoever has it can go on as this user: keep it as a password.'),
    refresh_expires_in: z.int().min(1).describe('Seconds until the user has to log in again.'),
  })
  .meta({ id: 'Tokens' });

export type Tokens = z.infer<typeof tokens>;

/** A public key that access tokens are checked against (RFC 7517, RFC 8037). */
const publicKey = z
  .strictObject({
    kty: z.literal('OKP'),
    crv: z.literal('Ed25519'),
    x: z.string(),
    kid: z.string(),
    alg: z.literal('EdDSA'),
    use: z.literal('sig'),
  })
  .meta({ id: 'PublicKey' });

export type PublicKey = z.infer<typeof publicKey>;

const keySet = z.strictObject({ keys: z.array(publicKey) }).meta({ id: 'KeySet' });

/** What a verifier of access tokens has to know of their issuer (OpenID Connect Discovery 1.0, section 3). */
const issuerMetadata = z
  .strictObject({
    issuer: z.string(),
    jwks_uri: z.string(),
    id_token_signing_alg_values_supported: z.array(z.string()),
    response_types_supported: z.array(z.string()),
    subject_types_supported: z.array(z.string()),
    claims_supported: z.array(z.string()),
  })
  .meta({ id: 'IssuerMetadata' });

/** Logging in and out, and what others need to check the tokens. Part of user-service. */
export const identityOperations = {
  login: defineOperation({
    id: 'login',
    method: 'post',
    path: '/api/auth/login',
    access: 'public',
    summary: 'Log in',
    description:
      'Begins a session. The access token is good for minutes; the refresh token buys the next one.',
    tag,
    body: credentials,
    answer: { status: 200, description: 'The tokens of the session.', schema: success(tokens) },
    problems: ['login-failed', 'login-throttled', 'login-overloaded', 'identity-unavailable'],
  }),
  refresh: defineOperation({
    id: 'refresh',
    method: 'post',
    path: '/api/auth/refresh',
    access: 'public',
    summary: 'Go on with a session',
    description:
      'Answers the next pair of tokens. A refresh token is good once: using one again ends the session, for one of its two users has stolen it. Only a repeat within seconds, by a client that missed the answer, gets the same refresh token again.',
    tag,
    body: refreshRequest,
    answer: { status: 200, description: 'The next tokens of the session.', schema: success(tokens) },
    problems: ['session-ended', 'identity-unavailable'],
  }),
  logout: defineOperation({
    id: 'logout',
    method: 'post',
    path: '/api/auth/logout',
    access: 'public',
    summary: 'End a session',
    description:
      'No refresh token of the session is good from here on. An access token lives on to its end, a few minutes later. The answer is the same for a token that nobody knows.',
    tag,
    body: refreshRequest,
    answer: {
      status: 200,
      description: 'The session has ended.',
      schema: success(z.strictObject({ message: z.literal('Logged out') })),
    },
    problems: [],
  }),
  publicKeys: defineOperation({
    id: 'publicKeys',
    method: 'get',
    path: '/.well-known/jwks.json',
    access: 'public',
    summary: 'Keys of access tokens',
    tag,
    answer: {
      status: 200,
      description: 'The key in use and, around a rotation, the one before or after it.',
      schema: keySet,
    },
    problems: ['identity-unavailable'],
  }),
  issuerMetadata: defineOperation({
    id: 'issuerMetadata',
    method: 'get',
    path: '/.well-known/openid-configuration',
    access: 'public',
    summary: 'Issuer of access tokens',
    description: 'As much as who checks tokens reads: where the keys are, and how tokens are signed.',
    tag,
    answer: { status: 200, description: 'The metadata.', schema: issuerMetadata },
    problems: [],
  }),
} as const;
