import { auditAfterCommit, type CommittedAction } from '@zerda/chassis/audit/audit-after-commit';
import type { Database, Queries } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { StartupError } from '@zerda/chassis/startup-error';
import type { PublicKey } from '@zerda/contracts/user-service/identity';
import { asc, getTableColumns, sql } from 'drizzle-orm';
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  exportPKCS8,
  generateKeyPair,
  importPKCS8,
} from 'jose';
import type { KeySecrets } from './key-secrets.ts';
import { type StoredKey, signingKeys } from './tables.ts';

/** Private key that signs access tokens. */
export interface SigningKey {
  readonly kid: string;
  readonly privateKey: CryptoKey;
}

/** Description of a key for operators. */
export interface KeyDescription {
  readonly kid: string;
  readonly state: 'next' | 'signing' | 'previous';
  readonly signsFrom: Date;
  /** Time after which tokens of the key are rejected; undefined if no end is set. */
  readonly endsAt: Date | undefined;
}

/** Signing keys of access tokens, stored in the database and shared by all replicas. */
export interface SigningKeys {
  /** Returns the current signing key. @throws Failure `identity-unavailable` if it cannot be decrypted */
  current(): Promise<SigningKey>;
  /** Returns the public keys that verify tokens. */
  published(): Promise<PublicKey[]>;
  list(): Promise<KeyDescription[]>;
  /**
   * Creates the next key. It is published immediately and signs after every verifier has fetched it; the previous key remains until
   * its last token has expired. With `immediately` the new key signs immediately and the other keys are deleted, so that their tokens
   * are rejected.
   * @returns all keys after the rotation
   * @throws StartupError while a rotation is in progress
   */
  rotate(options?: { readonly immediately?: boolean }): Promise<KeyDescription[]>;
}

export interface SigningKeysOptions {
  readonly database: Database;
  readonly secrets: KeySecrets;
  /** Lifetime of an access token in seconds. */
  readonly tokenSeconds: number;
  /** Seconds between publishing a key and using it; 900 by default. It must exceed the time for which verifiers cache keys. */
  readonly leadSeconds?: number;
}

/** Seconds added to the lifetime of a token, for clock skew and requests in flight. */
const marginSeconds = 120;

/** A row with the flag whether it can sign, by the clock of the database, which all replicas share. */
type LiveKey = StoredKey & { readonly signs: boolean };

export function createSigningKeys({
  database,
  secrets,
  tokenSeconds,
  leadSeconds = 900,
}: SigningKeysOptions): SigningKeys {
  const imported = new Map<string, Promise<CryptoKey>>();

  async function read(): Promise<LiveKey[]> {
    const keys = await database.query(selectLive);
    return keys.length > 0 ? keys : database.transaction(createFirstKey);
  }

  /** Creates the first key. If replicas start together, one creates it and the others read it. */
  async function createFirstKey(tx: Queries): Promise<LiveKey[]> {
    await lock(tx);
    const existing = await selectLive(tx);
    if (existing.length > 0) return existing;
    // Whatever request or command needs the first key, the service creates it.
    await insert(tx, 0, { action: 'signing-key.create', actor: { type: 'service', id: 'user-service' } });
    return selectLive(tx);
  }

  async function insert(
    tx: Queries,
    lead: number,
    audited: Pick<CommittedAction, 'action' | 'actor'>,
  ): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    const jwk = await exportJWK(publicKey);
    const kid = await calculateJwkThumbprint(jwk);
    await tx.insert(signingKeys).values({
      kid,
      publicKey: { ...jwk, kid, alg: 'EdDSA', use: 'sig' } as PublicKey,
      privateKey: secrets.encrypt(await exportPKCS8(privateKey), kid),
      signsFrom: secondsFromNow(lead),
    });
    auditAfterCommit(tx, [{ ...audited, entityId: kid }]);
  }

  async function importKey({ kid, privateKey }: StoredKey): Promise<CryptoKey> {
    const key = imported.get(kid) ?? importPKCS8(secrets.decrypt(privateKey, kid), 'EdDSA');
    imported.set(kid, key);
    return key;
  }

  return {
    async current() {
      const keys = await read();
      const key = keys.findLast(({ signs }) => signs) ?? keys[0];
      if (key === undefined) throw new Error('no signing key exists');
      try {
        return { kid: key.kid, privateKey: await importKey(key) };
      } catch (cause) {
        throw new Failure('identity-unavailable', { retryAfterSeconds: 10, cause });
      }
    },
    published: async () => (await read()).map(({ publicKey }) => publicKey),
    list: async () => describe(await read()),
    rotate: ({ immediately = false } = {}) =>
      database.transaction(async (tx) => {
        await lock(tx);
        await tx.delete(signingKeys).where(immediately ? undefined : sql`ends_at <= now()`);
        const keys = await selectLive(tx);
        if (keys.length > 1) throw rotationInProgress(keys);
        const lead = keys.length === 0 ? 0 : leadSeconds;
        await tx.update(signingKeys).set({ endsAt: secondsFromNow(lead + tokenSeconds + marginSeconds) });
        await insert(tx, lead, { action: immediately ? 'signing-key.replace' : 'signing-key.rotate' });
        return describe(await selectLive(tx));
      }),
  };
}

/** Returns the published keys in the order in which they sign. */
async function selectLive(db: Queries): Promise<LiveKey[]> {
  return db
    .select({ ...getTableColumns(signingKeys), signs: sql<boolean>`${signingKeys.signsFrom} <= now()` })
    .from(signingKeys)
    .where(sql`${signingKeys.endsAt} is null or ${signingKeys.endsAt} > now()`)
    .orderBy(asc(signingKeys.signsFrom));
}

/** Serializes changes of the keys across all replicas. */
async function lock(tx: Queries): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtext('signing_keys'))`);
}

function secondsFromNow(seconds: number) {
  return sql`now() + make_interval(secs => ${seconds})`;
}

function describe(keys: readonly LiveKey[]): KeyDescription[] {
  const signing = Math.max(
    0,
    keys.findLastIndex(({ signs }) => signs),
  );
  return keys.map(({ kid, signsFrom, endsAt }, index) => ({
    kid,
    state: index === signing ? 'signing' : index < signing ? 'previous' : 'next',
    signsFrom,
    endsAt: endsAt ?? undefined,
  }));
}

function rotationInProgress(keys: readonly LiveKey[]): StartupError {
  const until = keys[0]?.endsAt?.toISOString();
  return new StartupError(
    `A rotation is in progress until ${until}. Wait until then, or run \`keys rotate --now\`, which invalidates all existing tokens.`,
  );
}
