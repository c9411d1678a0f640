import type { Handlers } from '@zerda/chassis/http/api-router';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import { success } from '@zerda/chassis/http/success';
import type { identityOperations } from '@zerda/contracts/identity';
import type { Issuer } from '../identity/open-issuer.ts';
import type { Passwords } from '../identity/passwords.ts';
import type { Session, Sessions } from '../identity/sessions.ts';

export interface IdentityHandlersDependencies {
  readonly issuer: Issuer;
  readonly sessions: Sessions;
  readonly passwords: Pick<Passwords, 'logIn'>;
  readonly clientAddress: ClientAddress;
}

/** Seconds that anybody may keep the keys: less than a new one is published before it signs. */
const keysKept = 'public, max-age=300';

/** What answers each operation of identity. */
export function createIdentityHandlers({
  issuer,
  sessions,
  passwords,
  clientAddress,
}: IdentityHandlersDependencies): Handlers<typeof identityOperations> {
  /** Neither uses up a refresh token nor checks a password when there is no key to sign with. */
  async function tokensOf(open: () => Promise<Session>) {
    const signFor = await issuer.tokens.prepare();
    const { user, refreshToken, endsInSeconds } = await open();
    return {
      body: success({
        access_token: await signFor(user),
        token_type: 'Bearer',
        expires_in: issuer.tokens.seconds,
        refresh_token: refreshToken,
        refresh_expires_in: endsInSeconds,
      }),
    };
  }

  return {
    login: ({ body: { email, password }, request }) =>
      tokensOf(() =>
        passwords.logIn({ account: { email }, password, address: clientAddress(request) }, sessions.begin),
      ),
    refresh: ({ body }) => tokensOf(() => sessions.refresh(body.refresh_token)),
    async logout({ body }) {
      await sessions.end(body.refresh_token);
      return { body: success({ message: 'Logged out' }) };
    },
    async publicKeys() {
      const { keys, ageMs } = await issuer.published();
      return { body: { keys }, ageMs, cacheControl: keysKept };
    },
    async issuerMetadata() {
      return {
        body: {
          issuer: issuer.name,
          jwks_uri: `${issuer.name.replace(/\/$/, '')}/.well-known/jwks.json`,
          id_token_signing_alg_values_supported: ['EdDSA'],
          response_types_supported: [],
          subject_types_supported: ['public'],
          claims_supported: ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', ...issuer.tokens.claims],
        },
        cacheControl: keysKept,
      };
    },
  };
}
