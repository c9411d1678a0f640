import type { Database, Queries } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { StartupError } from '@zerda/chassis/startup-error';
import type { PublicKey } from '@zerda/contracts/identity';
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

/** A key to sign with. */
export interface SigningKey {
  readonly kid: string;
  readonly privateKey: CryptoKey;
}

/** A key as those who look after it see it. */
export interface KeyDescription {
  readonly kid: string;
  readonly state: 'next' | 'signing' | 'previous';
  readonly signsFrom: Date;
  /** When tokens that it has signed are taken no more; undefined while it has no end. */
  readonly endsAt: Date | undefined;
}

/** The keys of access tokens. All replicas have them from the database, so that each knows what another has signed with. */
export interface SigningKeys {
  /** The key to sign with now. @throws Failure `identity-unavailable` when it cannot be read */
  current(): Promise<SigningKey>;
  /** What tokens are checked against. */
  published(): Promise<PublicKey[]>;
  list(): Promise<KeyDescription[]>;
  /**
   * Makes the next key. It is published at once and signs once every verifier has it; the one before stays until its last token
   * has ended. With `atOnce` the new key signs at once and the others are gone: their tokens are refused.
   * @returns the keys there are then
   * @throws StartupError while a rotation is under way
   */
  rotate(options?: { readonly atOnce?: boolean }): Promise<KeyDescription[]>;
}

export interface SigningKeysOptions {
  readonly database: Database;
  readonly secrets: KeySecrets;
  /** Seconds that an access token is good for. */
  readonly tokenSeconds: number;
  /** Seconds from being published to being used: longer than verifiers keep keys without asking; 15 minutes by default. */
  readonly leadSeconds?: number;
}

/** Seconds for clocks and for what is under way, on top of the life of a token. */
const marginSeconds = 120;

/** A row, and whether it signs by the database's clock, which is the same for all replicas. */
type LiveKey = StoredKey & { readonly signs: boolean };

export function createSigningKeys({
  database,
  secrets,
  tokenSeconds,
  leadSeconds = 900,
}: SigningKeysOptions): SigningKeys {
  const imported = new Map<string, Promise<CryptoKey>>();

  async function read(): Promise<LiveKey[]> {
    const keys = await database.read(selectLive);
    return keys.length > 0 ? keys : database.write(makeFirst);
  }

  /** Of replicas that start together one makes it, and the others find it. */
  async function makeFirst(tx: Queries): Promise<LiveKey[]> {
    await lock(tx);
    const made = await selectLive(tx);
    if (made.length > 0) return made;
    await insert(tx, 0);
    return selectLive(tx);
  }

  async function insert(tx: Queries, lead: number): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    const jwk = await exportJWK(publicKey);
    const kid = await calculateJwkThumbprint(jwk);
    await tx.insert(signingKeys).values({
      kid,
      publicKey: { ...jwk, kid, alg: 'EdDSA', use: 'sig' } as PublicKey,
      privateKey: secrets.seal(await exportPKCS8(privateKey), kid),
      signsFrom: inSeconds(lead),
    });
  }

  async function importKey({ kid, privateKey }: StoredKey): Promise<CryptoKey> {
    const key = imported.get(kid) ?? importPKCS8(secrets.unseal(privateKey, kid), 'EdDSA');
    imported.set(kid, key);
    return key;
  }

  return {
    async current() {
      const keys = await read();
      const key = keys.findLast(({ signs }) => signs) ?? keys[0];
      if (key === undefined) throw new Error('there is no signing key');
      try {
        return { kid: key.kid, privateKey: await importKey(key) };
      } catch (cause) {
        throw new Failure('identity-unavailable', { headers: { 'Retry-After': '10' }, cause });
      }
    },
    published: async () => (await read()).map(({ publicKey }) => publicKey),
    list: async () => describe(await read()),
    rotate: ({ atOnce = false } = {}) =>
      database.write(async (tx) => {
        await lock(tx);
        await tx.delete(signingKeys).where(atOnce ? undefined : sql`ends_at <= now()`);
        const keys = await selectLive(tx);
        if (keys.length > 1) throw underWay(keys);
        const lead = keys.length === 0 ? 0 : leadSeconds;
        await tx.update(signingKeys).set({ endsAt: inSeconds(lead + tokenSeconds + marginSeconds) });
        await insert(tx, lead);
        return describe(await selectLive(tx));
      }),
  };
}

/** Keys that are published, in the order in which they sign. */
async function selectLive(db: Queries): Promise<LiveKey[]> {
  return db
    .select({ ...getTableColumns(signingKeys), signs: sql<boolean>`${signingKeys.signsFrom} <= now()` })
    .from(signingKeys)
    .where(sql`${signingKeys.endsAt} is null or ${signingKeys.endsAt} > now()`)
    .orderBy(asc(signingKeys.signsFrom));
}

/** One at a time changes the keys, over all replicas. */
async function lock(tx: Queries): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtext('signing_keys'))`);
}

function inSeconds(seconds: number) {
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

function underWay(keys: readonly LiveKey[]): StartupError {
  const until = keys[0]?.endsAt?.toISOString();
  return new StartupError(
    `a rotation is under way until ${until}, and two keys are all there may be; \`keys rotate --now\` makes one that signs at once and ends the tokens of the others`,
  );
}
