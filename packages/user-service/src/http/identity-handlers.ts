import { addAuditDetails } from '@zerda/chassis/audit/audit-log';
import type { Handlers } from '@zerda/chassis/http/api-router';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import { success } from '@zerda/chassis/http/success';
import type { identityOperations } from '@zerda/contracts/user-service/identity';
import type { Issuer } from '../identity/open-issuer.ts';
import type { Passwords } from '../identity/passwords.ts';
import type { Session, Sessions } from '../identity/sessions.ts';

export interface IdentityHandlersDependencies {
  readonly issuer: Issuer;
  readonly sessions: Sessions;
  readonly passwords: Pick<Passwords, 'logIn'>;
  readonly clientAddress: ClientAddress;
}

/** The keys can be cached for 300 s, which is less than the time between publishing a key and using it. */
const keysCacheControl = 'public, max-age=300';

/** Creates the handlers of all identity operations. */
export function createIdentityHandlers({
  issuer,
  sessions,
  passwords,
  clientAddress,
}: IdentityHandlersDependencies): Handlers<typeof identityOperations> {
  /** Reads the signing key first: without a key, no refresh token is consumed and no password is checked. */
  async function issueTokens(open: () => Promise<Session>) {
    const signFor = await issuer.tokens.prepare();
    const { user, refreshToken, endsInSeconds } = await open();
    addAuditDetails({ actor: { type: 'user', id: String(user.id) }, entityId: user.id });
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
      issueTokens(() =>
        passwords.logIn({ account: { email }, password, address: clientAddress(request) }, sessions.begin),
      ),
    refresh: ({ body }) => issueTokens(() => sessions.refresh(body.refresh_token)),
    async logout({ body }) {
      const userId = await sessions.end(body.refresh_token);
      addAuditDetails({ entityId: userId });
      return { body: success({ message: 'Logged out' }) };
    },
    async publicKeys() {
      const { keys, ageMs } = await issuer.published();
      return { body: { keys }, ageMs, cacheControl: keysCacheControl };
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
        cacheControl: keysCacheControl,
      };
    },
  };
}
