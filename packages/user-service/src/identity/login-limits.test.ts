import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine } from '@zerda/chassis/database/testing';
import { Failure } from '@zerda/chassis/failure';
import { sql } from 'drizzle-orm';
import { insertUser } from '../store/user-store.ts';
import { migrations } from '../testing.ts';
import { createKeySecrets } from './key-secrets.ts';
import { createLoginLimits, type LoginLimits } from './login-limits.ts';

const email = 'victim@example.com';

describeOnEachEngine('login limits', { migrations }, (open) => {
  let database: Database;
  let limits: LoginLimits;
  let userId: number;

  before(async () => {
    database = await open();
    limits = createLoginLimits({ database, secrets: createKeySecrets(['a secret of limits, long enough']) });
    const user = { name: 'Victim', email, role: 'user' as const };
    userId = (await database.write((tx) => insertUser(tx, user))).id;
  });
  beforeEach(() => database.write((tx) => tx.execute(sql`truncate login_attempts, known_addresses`)));

  /** Seconds that this attempt has to wait; 0 when it may go on. */
  async function attempt(address: string, as = email, id: number | undefined = userId): Promise<number> {
    try {
      await limits.begin({ email: as, address }, id);
      return 0;
    } catch (error) {
      assert.ok(error instanceof Failure && error.code === 'login-throttled', String(error));
      return Number(error.headers['Retry-After']);
    }
  }

  const pass = (seconds: number) =>
    database.write((tx) =>
      tx.execute(sql`update login_attempts set at = at - make_interval(secs => ${seconds})`),
    );

  it('slow down who tries one account from one address, and say for how long', async () => {
    for (let count = 0; count < 5; count += 1) assert.equal(await attempt('192.0.2.1'), 0);
    const wait = await attempt('192.0.2.1');
    assert.ok(wait >= 14 && wait <= 15, `${wait} s`);
    await pass(16);
    assert.equal(await attempt('192.0.2.1'), 0);
    assert.ok((await attempt('192.0.2.1')) > 0);
  });

  it('count attempts that come at once', async () => {
    const results = await Promise.all(Array.from({ length: 40 }, () => attempt('192.0.2.1')));
    assert.equal(results.filter((wait) => wait === 0).length, 5);
  });

  it('slow down who tries many accounts from one address', async () => {
    let free = 0;
    for (let count = 0; count < 40; count += 1) {
      if ((await attempt('192.0.2.1', `user${count}@example.com`, undefined)) === 0) free += 1;
    }
    assert.ok(free >= 30 && free <= 32, `${free} attempts`);
    assert.equal(
      await attempt('192.0.2.2', 'user1@example.com', undefined),
      0,
      'at another address nobody notices',
    );
  });

  it('slow down who tries one account from everywhere, but not its user at an address they are known at', async () => {
    await limits.begin({ email, address: '198.51.100.7' }, userId);
    await limits.succeeded({ email, address: '198.51.100.7' }, userId);
    let free = 0;
    for (let count = 0; count < 60; count += 1) if ((await attempt(`192.0.2.${count}`)) === 0) free += 1;
    assert.ok(free >= 10 && free <= 12, `${free} attempts`);
    assert.equal(await attempt('198.51.100.7'), 0);
    assert.ok((await attempt('203.0.113.5')) <= 10, 'and elsewhere there is room again soon');
  });

  it('forget the mistakes of who gets in', async () => {
    for (let round = 0; round < 10; round += 1) {
      for (let count = 0; count < 4; count += 1)
        assert.equal(await attempt('192.0.2.1'), 0, `round ${round}`);
      await limits.succeeded({ email, address: '192.0.2.1' }, userId);
      await pass(8);
    }
  });

  it('are the same for an account that does not exist', async () => {
    const waits = async (as: string, id: number | undefined) => {
      const seen: number[] = [];
      for (let count = 0; count < 8; count += 1)
        seen.push(Math.sign(await attempt(`192.0.2.${count % 2}`, as, id)));
      return seen;
    };
    const known = await waits(email, userId);
    await database.write((tx) => tx.execute(sql`truncate login_attempts`));
    assert.deepEqual(await waits('nobody@example.com', undefined), known);
  });

  it('take a line with IPv6 for one address', async () => {
    for (let count = 0; count < 5; count += 1) assert.equal(await attempt(`2001:db8:1:2::${count}`), 0);
    assert.ok((await attempt('2001:db8:1:2:ffff:1:2:3')) > 0);
    assert.equal(await attempt('2001:db8:1:3::1'), 0);
  });

  it('keep neither addresses nor accounts', async () => {
    await attempt('192.0.2.77');
    await limits.succeeded({ email, address: '192.0.2.77' }, userId);
    await attempt('192.0.2.77');
    const { rows } = (await database.read((db) =>
      db.execute(sql`
        select row_to_json(a)::text as row from login_attempts a union all
        select row_to_json(k)::text from known_addresses k`),
    )) as unknown as { rows: { row: string }[] };
    assert.ok(rows.length >= 4);
    assert.doesNotMatch(rows.map(({ row }) => row).join(), /192\.0|victim/);
  });
});
