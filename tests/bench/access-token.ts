import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Somebody who has issued one access token, and shows the key of it. */
export interface Issuer {
  /** The token, good for an hour. */
  readonly token: string;
  /** Variables by which a gateway takes it. */
  readonly env: NodeJS.ProcessEnv;
  close(): Promise<void>;
}

const issuer = 'http://bench.test';

/** An issuer on a free port of the loopback. */
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
