import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A token issuer that has issued one access token and serves its key set. */
export interface Issuer {
  /** The access token, valid for one hour. */
  readonly token: string;
  /** Environment variables with which a gateway accepts the token. */
  readonly env: NodeJS.ProcessEnv;
  close(): Promise<void>;
}

const issuer = 'http://bench.test';

/** Starts an issuer on a free loopback port. */
export async function startIssuer(): Promise<Issuer> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const keys = JSON.stringify({
    keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'bench', alg: 'EdDSA' }],
  });
  const server = createServer((_request, response) => {
    response.setHeader('Content-Type', 'application/json');
    response.end(keys);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: issuer,
    aud: 'zerda',
    sub: 'bench',
    role: 'user',
    user_id: 1,
    iat: now,
    exp: now + 3600,
  };
  const signed = [{ alg: 'EdDSA', kid: 'bench', typ: 'at+jwt' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return {
    token: `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`,
    env: {
      AUTH: 'required',
      AUTH_ISSUER: issuer,
      AUTH_JWKS_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    },
    async close() {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}
