import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { before, describe, it } from 'node:test';
import {
  type CryptoKey,
  createLocalJWKSet,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWK,
  type JWTPayload,
  type JWTVerifyGetKey,
  SignJWT,
} from 'jose';
import { Failure } from '../failure.ts';
import { createTokenVerifier, type TokenVerifierOptions } from './token-verifier.ts';

const issuer = 'https://issuer.example';
const audience = 'zerda';

interface Pair {
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly jwk: JWK;
}

async function pair(alg: string, kid: string): Promise<Pair> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg } };
}

let trusted: Pair;
let untrusted: Pair;
let rsa: Pair;
let keys: JWTVerifyGetKey;

before(async () => {
  trusted = await pair('EdDSA', 'own');
  untrusted = await pair('EdDSA', 'own');
  rsa = await pair('RS256', 'rsa');
  keys = createLocalJWKSet({ keys: [trusted.jwk, rsa.jwk] });
});

const seconds = (fromNow: number) => Math.floor(Date.now() / 1000) + fromNow;

interface TokenOptions {
  readonly claims?: { readonly [name: string]: unknown };
  readonly header?: object;
  readonly key?: CryptoKey;
}

function token({ claims = {}, header = {}, key = trusted.privateKey }: TokenOptions = {}): Promise<string> {
  const payload: JWTPayload = {
    iss: issuer,
    aud: audience,
    sub: '7',
    exp: seconds(60),
    role: 'user',
    user_id: 7,
    ...claims,
  };
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'EdDSA', kid: 'own', typ: 'at+jwt', ...header })
    .sign(key);
}

function verifier(options: Partial<TokenVerifierOptions> = {}) {
  return createTokenVerifier({ keys, issuer, audience, ...options });
}

function encodePart(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

async function assertRejected(
  text: string,
  detail: RegExp,
  options?: Partial<TokenVerifierOptions>,
): Promise<void> {
  await assert.rejects(verifier(options).verify(text), (error) => {
    assert.ok(error instanceof Failure);
    assert.equal(error.code, 'unauthenticated');
    assert.match(error.detail ?? '', detail);
    assert.match(error.challenge ?? '', /^Bearer realm="zerda", error="invalid_token"/);
    for (const part of text.split('.').filter(({ length }) => length > 8))
      assert.ok(!JSON.stringify(error).includes(part), 'the error contains no part of the token');
    return true;
  });
}

describe('a token verifier', () => {
  it('returns the caller of a valid token', async () => {
    assert.deepEqual(await verifier().verify(await token()), { subject: '7', userId: 7, role: 'user' });
    const admin = await token({ claims: { role: 'admin', sub: 'auth0|1', user_id: undefined } });
    assert.deepEqual(await verifier().verify(admin), {
      subject: 'auth0|1',
      userId: undefined,
      role: 'admin',
    });
  });

  it('rejects tokens with another issuer, audience or key, and tokens outside their validity period', async () => {
    await assertRejected(await token({ claims: { iss: 'https://elsewhere.example' } }), /issuer/);
    await assertRejected(await token({ claims: { aud: 'another' } }), /audience/);
    await assertRejected(await token({ claims: { exp: seconds(-6) } }), /expired/);
    await assertRejected(await token({ claims: { nbf: seconds(30) } }), /start time/);
    await assertRejected(await token({ claims: { exp: undefined } }), /claim/);
    await assertRejected(await token({ claims: { sub: undefined } }), /claim/);
    await assertRejected(await token({ claims: { sub: '' } }), /subject/);
    await assertRejected(await token({ key: untrusted.privateKey }), /is invalid/);
    await assertRejected(await token({ header: { kid: 'unknown' } }), /is invalid/);
    for (const text of ['a.b.c', '..', 'e30.e30.', `${encodePart({ alg: 'EdDSA' })}.e30.AA`])
      await assertRejected(text, /is invalid/);
  });

  it('rejects a token whose subject is not a string', async () => {
    for (const sub of [null, {}, [], ['7'], 7, 0, true, false])
      await assertRejected(await token({ claims: { sub } }), /subject/);
  });

  it('rejects every token type except at+jwt, unless the configuration allows another', async () => {
    for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt', 'Application/At+Jwt'])
      await verifier().verify(await token({ header: { typ } }));
    const others = [
      undefined,
      'JWT',
      'logout+jwt',
      'secevent+jwt',
      'application/logout+jwt',
      'id_token+jwt',
      'rt+jwt',
      'dpop+jwt',
      'oauth-authz-req+jwt',
      '',
      'application/',
      'at+jwt ',
      'text/at+jwt',
      'at+jwt+jwt',
      7,
      null,
    ];
    for (const typ of others) await assertRejected(await token({ header: { typ } }), /type/);
    const untyped = { types: ['JWT'] as const };
    for (const typ of [undefined, 'JWT', 'jwt', 'application/jwt'])
      await verifier(untyped).verify(await token({ header: { typ } }));
    for (const typ of ['at+jwt', ...others.slice(2)])
      await assertRejected(await token({ header: { typ } }), /type/, untyped);
    await verifier({ types: ['at+jwt', 'JWT'] }).verify(await token());
  });

  it('rejects untyped tokens whose claims show another kind of token, and accepts other untyped tokens', async () => {
    const untyped = { types: ['at+jwt', 'JWT'] as const };
    const header = { typ: 'JWT' };
    const events = { 'http://schemas.openid.net/event/backchannel-logout': {} };
    for (const claims of [
      { nonce: 'n' },
      { nonce: null },
      { at_hash: 'h' },
      { c_hash: 'h' },
      { s_hash: 'h' },
      { events },
      { events: {}, sid: 's' },
      { token_use: 'id' },
      { typ: 'ID', nonce: 'n' },
      { typ: 'Refresh' },
      { typ: 'Offline' },
      { typ: 'Logout' },
      { typ: ['Bearer'] },
      { typ: 'Bearer', at_hash: 'h' },
    ])
      await assertRejected(await token({ header, claims }), /type/, untyped);
    for (const claims of [
      { azp: 'app', sid: 's', auth_time: 1, acr: '1', amr: ['pwd'], scope: 'openid' },
      { typ: 'Bearer', nonce: 'n' },
      { typ: 'DPoP' },
      { token_use: 'access' },
    ])
      await verifier(untyped).verify(await token({ header, claims }));
  });

  it('accepts one of several audiences, and small clock differences', async () => {
    await verifier().verify(await token({ claims: { aud: ['other', audience] } }));
    await verifier().verify(await token({ claims: { nbf: seconds(3) } }));
    await verifier().verify(await token({ claims: { exp: seconds(-3) } }));
  });

  it('rejects algorithms that are not allowed, even with a suitable key', async () => {
    const claims = { iss: issuer, aud: audience, sub: '7', exp: seconds(60), role: 'admin' };
    await assertRejected(`${encodePart({ alg: 'none' })}.${encodePart(claims)}.`, /is invalid/);
    // Algorithm confusion: the public key used as an HMAC secret.
    const head = `${encodePart({ alg: 'HS256', kid: 'rsa' })}.${encodePart(claims)}`;
    const secret = await exportSPKI(rsa.publicKey);
    await assertRejected(
      `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`,
      /is invalid/,
    );
    const foreign = await token({ header: { alg: 'RS256', kid: 'rsa' }, key: rsa.privateKey });
    await assertRejected(foreign, /is invalid/);
    assert.equal((await verifier({ algorithms: ['RS256'] }).verify(foreign)).userId, 7);
  });

  it('reads role and user id from the configured claims, including lists and nested claims', async () => {
    const claims = {
      'https://example.com/uid': '42',
      realm_access: { roles: ['reader', 'boss'] },
      role: 'admin',
    };
    const options = {
      roleClaim: 'realm_access.roles',
      adminRole: 'boss',
      userIdClaim: 'https://example.com/uid',
    };
    const text = await token({ claims });
    assert.deepEqual(await verifier(options).verify(text), { subject: '7', userId: 42, role: 'admin' });
    const other = { ...options, adminRole: 'admin' };
    assert.equal((await verifier(other).verify(text)).role, 'user', 'the default claim is ignored');
  });

  it('accepts only exact user ids and the exact admin role', async () => {
    for (const user_id of ['', '0', '-1', '1.5', 0, -7, 1.5, 2 ** 31, true, { id: 1 }, [7], null, '7 ']) {
      const caller = await verifier().verify(await token({ claims: { user_id } }));
      assert.equal(caller.userId, undefined, JSON.stringify(user_id));
    }
    for (const role of ['Admin', 'admin ', ['user'], { admin: true }, true, null, undefined]) {
      const caller = await verifier().verify(await token({ claims: { role } }));
      assert.equal(caller.role, 'user', JSON.stringify(role));
    }
    const proto = await token({ claims: { a: {} } });
    assert.equal(
      (await verifier({ roleClaim: 'a.constructor.name', adminRole: 'Object' }).verify(proto)).role,
      'user',
    );
  });

  it('caches a token for 30 seconds, and not after it expires', async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
    let lookups = 0;
    const counted = verifier({
      clockSkewSeconds: 0,
      keys: (header, jws) => {
        lookups += 1;
        return keys(header, jws);
      },
    });
    const long = await token({ claims: { exp: seconds(3600) } });
    await counted.verify(long);
    t.mock.timers.tick(29_000);
    await counted.verify(long);
    assert.equal(lookups, 1);
    t.mock.timers.tick(1001);
    await counted.verify(long);
    assert.equal(lookups, 2);

    const short = await token({ claims: { exp: seconds(10) } });
    await counted.verify(short);
    t.mock.timers.tick(10_001);
    await assert.rejects(counted.verify(short), /expired/);
    await assert.rejects(counted.verify(short), /expired/);
  });

  it('does not confuse cached tokens', async () => {
    const shared = verifier();
    const [seven, eight] = [await token(), await token({ claims: { sub: '8', user_id: 8 } })];
    for (const text of [seven, eight, seven, eight])
      assert.equal((await shared.verify(text)).userId, text === seven ? 7 : 8);
    await assert.rejects(shared.verify(`${seven}x`));
    const [head, , signature] = seven.split('.');
    await assert.rejects(shared.verify(`${head}.${eight.split('.')[1]}.${signature}`));
  });
});

describe('ambiguous keys', () => {
  const withoutId = ({ kid: _kid, ...jwk }: JWK): JWK => jwk;

  it('are tried in turn if the token has no key id or the id occurs twice (RFC 7515, appendix D)', async () => {
    const other = await pair('EdDSA', 'other');
    for (const [name, jwks, header] of [
      ['the same key twice', [trusted.jwk, trusted.jwk], {}],
      ['two keys with one id', [untrusted.jwk, trusted.jwk], {}],
      ['a token without a key id', [untrusted.jwk, other.jwk, rsa.jwk, trusted.jwk], { kid: undefined }],
      ['keys without ids', [withoutId(untrusted.jwk), withoutId(trusted.jwk)], { kid: undefined }],
    ] as const) {
      const verify = verifier({ keys: createLocalJWKSet({ keys: [...jwks] }) });
      assert.equal((await verify.verify(await token({ header }))).subject, '7', name);
    }
  });

  it('reject a token that none of them signed, or that is otherwise invalid', async () => {
    const ambiguous = createLocalJWKSet({ keys: [untrusted.jwk, untrusted.jwk, rsa.jwk] });
    await assertRejected(await token({ header: { kid: undefined } }), /is invalid/, { keys: ambiguous });
    const twice = createLocalJWKSet({ keys: [untrusted.jwk, trusted.jwk] });
    await assertRejected(await token({ claims: { exp: seconds(-60) } }), /expired/, { keys: twice });
    await assertRejected(await token({ claims: { aud: 'other' } }), /audience/, { keys: twice });
  });

  it('are tried only up to a limit', async () => {
    const many = createLocalJWKSet({
      keys: [...Array.from({ length: 30 }, () => untrusted.jwk), trusted.jwk],
    });
    await assertRejected(await token({ header: { kid: undefined } }), /is invalid/, { keys: many });
  });
});
