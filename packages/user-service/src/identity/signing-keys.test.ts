import assert from 'node:assert/strict';
import { before, beforeEach, describe, it } from 'node:test';
import { createKeySet } from '@zerda/chassis/auth/key-set';
import { createTokenVerifier } from '@zerda/chassis/auth/token-verifier';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { Failure } from '@zerda/chassis/failure';
import { StartupError } from '@zerda/chassis/startup-error';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { sql } from 'drizzle-orm';
import { migrations } from '../../testing/app.ts';
import { runKeysCommand } from '../commands/keys.ts';
import { createAccessTokens } from './access-tokens.ts';
import { createKeySecrets } from './key-secrets.ts';
import { createSigningKeys } from './signing-keys.ts';

const secret = 'the secret of the keys of this test';
const rotationInProgress = (error: unknown) =>
  error instanceof StartupError && /in progress/.test(error.message);

describeOnEachEngine('signing keys', { migrations }, (openDatabase) => {
  let database: Database;

  before(async () => {
    database = await openDatabase();
  });
  beforeEach(() => database.transaction((tx) => tx.execute(sql`truncate signing_keys`)));

  function replica(secrets: [string, ...string[]] = [secret]) {
    return createSigningKeys({ database, secrets: createKeySecrets(secrets), tokenSeconds: 600 });
  }

  /** Moves the time in the database forward. */
  const pass = (seconds: number) =>
    database.transaction((tx) =>
      tx.execute(sql`update signing_keys set
        signs_from = signs_from - make_interval(secs => ${seconds}),
        ends_at = ends_at - make_interval(secs => ${seconds})`),
    );

  const stateOf = async () => (await replica().list()).map(({ state }) => state);

  it('are created once by concurrent replicas', async () => {
    const replicas = [replica(), replica(), replica(), replica()];
    const kids = (await Promise.all(replicas.map((keys) => keys.current()))).map(({ kid }) => kid);
    assert.equal(new Set(kids).size, 1);
    assert.deepEqual(await stateOf(), ['signing']);
  });

  it('are published before and after they sign', async () => {
    const [rotatingReplica, otherReplica] = [replica(), replica()];
    const { kid: first } = await rotatingReplica.current();
    await rotatingReplica.rotate();
    assert.deepEqual(await stateOf(), ['signing', 'next']);
    assert.equal((await otherReplica.published()).length, 2);
    assert.equal((await otherReplica.current()).kid, first);
    await pass(899);
    assert.equal((await otherReplica.current()).kid, first);
    await pass(2);
    const { kid: second } = await otherReplica.current();
    assert.notEqual(second, first);
    assert.equal((await rotatingReplica.current()).kid, second);
    assert.deepEqual(await stateOf(), ['previous', 'signing']);
    // The last token of the first key expires before the key is withdrawn.
    await pass(600);
    assert.deepEqual(await stateOf(), ['previous', 'signing']);
    await pass(121);
    assert.deepEqual(
      (await rotatingReplica.published()).map(({ kid }) => kid),
      [second],
    );
    await rotatingReplica.rotate();
    assert.deepEqual(await stateOf(), ['signing', 'next']);
  });

  it('allow one rotation at a time, also for concurrent requests', async () => {
    await replica().current();
    const results = await Promise.allSettled([replica().rotate(), replica().rotate(), replica().rotate()]);
    const rejected = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    assert.equal(rejected.length, 2);
    assert.ok(rejected.every(rotationInProgress), String(rejected[0]));
    assert.equal((await replica().published()).length, 2);
  });

  it('are replaced immediately by a rotation with `immediately`', async () => {
    const { kid: stolen } = await replica().current();
    await replica().rotate();
    await replica().rotate({ immediately: true });
    const keys = await replica().list();
    assert.deepEqual(
      keys.map(({ state }) => state),
      ['signing'],
    );
    assert.notEqual(keys[0]?.kid, stolen);
  });

  it('cannot be decrypted with the database alone', async () => {
    await replica().current();
    const rows = await database.query((db) =>
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

  it('survive a change of the encryption secret', async () => {
    const { kid } = await replica().current();
    const changed = replica(['the secret that comes after, just as long', secret]);
    assert.equal((await changed.current()).kid, kid);
    await changed.rotate();
    await pass(901);
    await pass(721);
    const after = replica(['the secret that comes after, just as long']);
    assert.notEqual((await after.current()).kid, kid);
  });

  it('verify every token during a rotation, for any replica and any age of the cached keys', async () => {
    const replicas = [replica(), replica()];
    const issuers = replicas.map((keys) =>
      createAccessTokens({
        keys,
        issuer: 'https://issuer.test',
        audience: 'zerda',
        seconds: 600,
        adminRole: 'admin',
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
          // Unknown keys trigger no fetch within the cooldown.
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
    // Ten minutes later the verifier has the new key, which does not sign yet.
    await pass(600);
    aged = verifierWith(600_000);
    await all();
    await pass(301);
    assert.deepEqual(await stateOf(), ['previous', 'signing']);
    await all();
    await all();
  });
});

describe('keys command', () => {
  it('lists and rotates keys, and rejects unknown arguments', async () => {
    const lines: string[] = [];
    const print = (line: string) => lines.push(line);
    const key = { kid: 'a', state: 'signing', signsFrom: new Date(0), endsAt: undefined } as const;
    const rotations: unknown[] = [];
    const keys = {
      current: () => Promise.reject(new Error('unexpected call')),
      published: async () => [],
      list: async () => [key],
      rotate: async (options?: object) => {
        rotations.push(options);
        return [key, { ...key, kid: 'b', state: 'next', endsAt: new Date(1) } as const];
      },
    };
    await runKeysCommand({ args: ['list'], keys, print });
    await runKeysCommand({ args: ['rotate'], keys, print });
    await runKeysCommand({ args: ['rotate', '--now'], keys, print });
    assert.deepEqual(rotations, [{ immediately: false }, { immediately: true }]);
    assert.match(lines[2] ?? '', /^b {2}next .*signs from 1970-.*ends 1970-/);
    for (const args of [[], ['rotate', 'now'], ['delete']])
      await assert.rejects(runKeysCommand({ args, keys, print }), { exitCode: 78, message: /usage/ });
    await assert.rejects(runKeysCommand({ args: ['list'], keys: undefined, print }), { exitCode: 78 });
  });
});
