import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';

/** Cryptographic operations with AUTH_KEY_SECRET. Each one uses its own derived key. */
export interface KeySecrets {
  /** Encrypts a text. @param context additional authenticated data, required for decryption */
  encrypt(text: string, context: string): string;
  /** Decrypts a text that was encrypted with the current or the previous secret. @throws Error if neither secret matches */
  decrypt(ciphertext: string, context: string): string;
  /** Derives the next refresh token under the current and the previous secret. The result is deterministic. */
  successors(token: string): string[];
  /** Returns a keyed hash, for values such as addresses that the database must look up but not store. */
  fingerprint(text: string): string;
  /** Returns the fingerprint under the current secret, then under the previous one if it is set. */
  fingerprints(text: string): [string, ...string[]];
}

/** AES-256-GCM (NIST SP 800-38D). */
const cipher = 'aes-256-gcm';
const ivBytes = 12;
const tagBytes = 16;

/** @param secrets the current secret and, while it is replaced, the previous one */
export function createKeySecrets(secrets: readonly [string, ...string[]]): KeySecrets {
  const derived = (purpose: string) =>
    secrets.map((secret) => Buffer.from(hkdfSync('sha256', secret, '', `zerda ${purpose}`, 32))) as [
      Buffer,
      ...Buffer[],
    ];
  const encryptionKeys = derived('signing keys');
  const refreshKeys = derived('refresh tokens');
  const fingerprintKeys = derived('fingerprints');

  return {
    encrypt(text, context) {
      const iv = randomBytes(ivBytes);
      const writer = createCipheriv(cipher, encryptionKeys[0], iv, { authTagLength: tagBytes });
      writer.setAAD(Buffer.from(context));
      const ciphertext = Buffer.concat([
        iv,
        writer.update(text, 'utf8'),
        writer.final(),
        writer.getAuthTag(),
      ]);
      return ciphertext.toString('base64url');
    },
    decrypt(ciphertext, context) {
      const bytes = Buffer.from(ciphertext, 'base64url');
      for (const key of encryptionKeys) {
        const reader = createDecipheriv(cipher, key, bytes.subarray(0, ivBytes), { authTagLength: tagBytes });
        reader.setAAD(Buffer.from(context));
        reader.setAuthTag(bytes.subarray(-tagBytes));
        try {
          return reader.update(bytes.subarray(ivBytes, -tagBytes), undefined, 'utf8') + reader.final('utf8');
        } catch {
          // Encrypted with another secret.
        }
      }
      throw new Error('the signing key was encrypted with a secret other than AUTH_KEY_SECRET');
    },
    successors: (token) => refreshKeys.map((key) => hmac(key, token)),
    fingerprint: (text) => hmac(fingerprintKeys[0], text),
    fingerprints: (text) => fingerprintKeys.map((key) => hmac(key, text)) as [string, ...string[]],
  };
}

function hmac(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}
