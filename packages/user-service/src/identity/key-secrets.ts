import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';

/** What is done with the secret of AUTH_KEY_SECRET, each under a key of its own that is derived from it. */
export interface KeySecrets {
  /** Encrypts a text. @param context what it belongs to, without which it cannot be read again */
  seal(text: string, context: string): string;
  /** Reads what was sealed under the secret or the one before. @throws Error when it was under neither */
  unseal(sealed: string, context: string): string;
  /** What follows on a refresh token, as the secret and the one before have it: the same each time. */
  successors(token: string): string[];
  /** Stands for something that is looked up but must not be readable in the database, such as an address. */
  fingerprint(text: string): string;
  /** The fingerprint, then the one under the secret before, while it is replaced. */
  fingerprints(text: string): [string, ...string[]];
}

/** AES-256-GCM (NIST SP 800-38D). */
const cipher = 'aes-256-gcm';
const ivBytes = 12;
const tagBytes = 16;

/** @param secrets the one in use, and the one before while it is replaced */
export function createKeySecrets(secrets: readonly [string, ...string[]]): KeySecrets {
  const derived = (purpose: string) =>
    secrets.map((secret) => Buffer.from(hkdfSync('sha256', secret, '', `zerda ${purpose}`, 32))) as [
      Buffer,
      ...Buffer[],
    ];
  const sealing = derived('signing keys');
  const refreshing = derived('refresh tokens');
  const fingerprinting = derived('fingerprints');

  return {
    seal(text, context) {
      const iv = randomBytes(ivBytes);
      const writer = createCipheriv(cipher, sealing[0], iv, { authTagLength: tagBytes });
      writer.setAAD(Buffer.from(context));
      const sealed = Buffer.concat([iv, writer.update(text, 'utf8'), writer.final(), writer.getAuthTag()]);
      return sealed.toString('base64url');
    },
    unseal(sealed, context) {
      const bytes = Buffer.from(sealed, 'base64url');
      for (const key of sealing) {
        const reader = createDecipheriv(cipher, key, bytes.subarray(0, ivBytes), { authTagLength: tagBytes });
        reader.setAAD(Buffer.from(context));
        reader.setAuthTag(bytes.subarray(-tagBytes));
        try {
          return reader.update(bytes.subarray(ivBytes, -tagBytes), undefined, 'utf8') + reader.final('utf8');
        } catch {
          // Was sealed under another one.
        }
      }
      throw new Error('a signing key was encrypted under a secret that is not AUTH_KEY_SECRET');
    },
    successors: (token) => refreshing.map((key) => hmac(key, token)),
    fingerprint: (text) => hmac(fingerprinting[0], text),
    fingerprints: (text) => fingerprinting.map((key) => hmac(key, text)) as [string, ...string[]],
  };
}

function hmac(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}
