import assert from 'node:assert/strict';
import { before, beforeEach, describe, it } from 'node:test';
import { createKeySet } from '@zerda/chassis/auth/key-set';
import { createTokenVerifier } from '@zerda/chassis/auth/token-verifier';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { describeOnEachEngine } from '@zerda/chassis/database/testing';
import { Failure } from '@zerda/chassis/failure';
import { StartupError } from '@zerda/chassis/startup-error';
import { sql } from 'drizzle-orm';
import { migrations } from '../testing.ts';
import { createAccessTokens } from './access-tokens.ts';
import { createKeySecrets } from './key-secrets.ts';
import { runKeysCommand } from './keys-command.ts';
import { createSigningKeys } from './signing-keys.ts';

const secret = 'the secret of the keys of this test';
const underWay = (error: unknown) => error instanceof StartupError && /under way/.test(error.message);

describeOnEachEngine('signing keys', { migrations }, (open) => {
  let database: Database;

  before(async () => {
    database = await open();
  });
  beforeEach(() => database.write((tx) => tx.execute(sql`truncate signing_keys`)));

  function replica(secrets: [string, ...string[]] = [secret]) {
    return createSigningKeys({ database, secrets: createKeySecrets(secrets), tokenSeconds: 600 });
  }

  /** Lets time go by: what was to come in that many seconds has come. */
  const pass = (seconds: number) =>
    database.write((tx) =>
      tx.execute(sql`update signing_keys set
        signs_from = signs_from - make_interval(secs => ${seconds}),
        ends_at = ends_at - make_interval(secs => ${seconds})`),
    );

  const stateOf = async () => (await replica().list()).map(({ state }) => state);

  it('are made once, by whichever of several replicas is first', async () => {
    const replicas = [replica(), replica(), replica(), replica()];
    const kids = (await Promise.all(replicas.map((one) => one.current()))).map(({ kid }) => kid);
    assert.equal(new Set(kids).size, 1);
    assert.deepEqual(await stateOf(), ['signing']);
  });

  it('are published before they sign, and after', async () => {
    const [one, another] = [replica(), replica()];
    const { kid: first } = await one.current();
    await one.rotate();
    assert.deepEqual(await stateOf(), ['signing', 'next']);
    assert.equal((await another.published()).length, 2);
    assert.equal((await another.current()).kid, first);
    await pass(899);
    assert.equal((await another.current()).kid, first);
    await pass(2);
    const { kid: second } = await another.current();
    assert.notEqual(second, first);
    assert.equal((await one.current()).kid, second);
    assert.deepEqual(await stateOf(), ['previous', 'signing']);
    // The last token of the first key has ended before its key is withdrawn.
    await pass(600);
    assert.deepEqual(await stateOf(), ['previous', 'signing']);
    await pass(121);
    assert.deepEqual(
      (await one.published()).map(({ kid }) => kid),
      [second],
    );
    await one.rotate();
    assert.deepEqual(await stateOf(), ['signing', 'next']);
  });

  it('are two at most: another rotation waits for the one that is under way, also when both come at once', async () => {
    await replica().current();
    const results = await Promise.allSettled([replica().rotate(), replica().rotate(), replica().rotate()]);
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    assert.equal(refused.length, 2);
    assert.ok(refused.every(underWay), String(refused[0]));
    assert.equal((await replica().published()).length, 2);
  });

  it('that were stolen are gone at once', async () => {
    const { kid: stolen } = await replica().current();
    await replica().rotate();
    await replica().rotate({ atOnce: true });
    const keys = await replica().list();
    assert.deepEqual(
      keys.map(({ state }) => state),
      ['signing'],
    );
    assert.notEqual(keys[0]?.kid, stolen);
  });

  it('are of no use to who has the database alone', async () => {
    await replica().current();
    const rows = await database.read((db) =>
      rowsOf<{ row: string }>(db, sql`select row_to_json(k)::text as row from signing_keys k`),
    );
    assert.doesNotMatch(rows.map(({ row }) => row).join(), /PRIVATE|"d"/);
    await assert.rejects(replica(['another secret, as long as the first']).current(), (error) => {
      assert.ok(error instanceof Failure);
      assert.equal(error.code, 'identity-unavailable');
      assert.match(String(error.cause), /AUTH_KEY_SECRET/);
      return true;
    });
  });

  it('outlive a change of the secret that they are encrypted with', async () => {
    const { kid } = await replica().current();
    const changed = replica(['the secret that comes after, just as long', secret]);
    assert.equal((await changed.current()).kid, kid);
    await changed.rotate();
    await pass(901);
    await pass(721);
    const after = replica(['the secret that comes after, just as long']);
    assert.notEqual((await after.current()).kid, kid);
  });

  it('refuse no token during a rotation, whichever of two replicas has signed it and however old the keys of a verifier are', async () => {
    const replicas = [replica(), replica()];
    const issuers = replicas.map((keys) =>
      createAccessTokens({
        keys,
        ...{ issuer: 'https://issuer.test', audience: 'zerda', seconds: 600, adminRole: 'admin' },
        claims: { role: 'role', userId: 'user_id' },
      }),
    );
    const verifierWith = (maxAgeMs: number) =>
      createTokenVerifier({
        issuer: 'https://issuer.test',
        audience: 'zerda',
        keys: createKeySet({
          load: async () => ({ keys: await replica().published() }),
          maxAgeMs,
          // Nobody is helped by asking for an unknown key: somebody has just done so.
          cooldownMs: 600_000,
        }),
      });
    const fresh = verifierWith(0);
    const tokens: string[] = [];
    let aged = verifierWith(600_000);
    const all = async () => {
      for (const issuer of issuers) tokens.push(await (await issuer.prepare())({ id: 1, role: 'user' }));
      for (const token of tokens) {
        assert.equal((await fresh.verify(token)).userId, 1);
        assert.equal((await aged.verify(token)).userId, 1);
      }
    };
    await all();
    await replicas[0]?.rotate();
    await all();
    // Ten minutes later the verifier has the new keys, which still do not sign.
    await pass(600);
    aged = verifierWith(600_000);
    await all();
    await pass(301);
    assert.deepEqual(await stateOf(), ['previous', 'signing']);
    await all();
    await all();
  });
});

describe('the keys command', () => {
  it('tells what there is, and refuses what it does not know', async () => {
    const lines: string[] = [];
    const print = (line: string) => lines.push(line);
    const key = { kid: 'a', state: 'signing', signsFrom: new Date(0), endsAt: undefined } as const;
    const asked: unknown[] = [];
    const keys = {
      current: () => Promise.reject(new Error('is not asked for')),
      published: async () => [],
      list: async () => [key],
      rotate: async (options?: object) => {
        asked.push(options);
        return [key, { ...key, kid: 'b', state: 'next', endsAt: new Date(1) } as const];
      },
    };
    await runKeysCommand({ words: ['list'], keys, print });
    await runKeysCommand({ words: ['rotate'], keys, print });
    await runKeysCommand({ words: ['rotate', '--now'], keys, print });
    assert.deepEqual(asked, [{ atOnce: false }, { atOnce: true }]);
    assert.match(lines[2] ?? '', /^b {2}next .*signs from 1970-.*ends 1970-/);
    for (const words of [[], ['rotate', 'now'], ['delete']])
      await assert.rejects(runKeysCommand({ words, keys, print }), { exitCode: 78, message: /usage/ });
    await assert.rejects(runKeysCommand({ words: ['list'], keys: undefined, print }), { exitCode: 78 });
  });
});
