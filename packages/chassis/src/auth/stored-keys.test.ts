import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeOnEachEngine } from '../../testing/database.ts';
import { createStoredKeys } from './stored-keys.ts';

const migrations = new URL('../database/tables/', import.meta.url);
const source = 'http://users.test/.well-known/jwks.json';
const key = (kid: string) => ({ kty: 'OKP', crv: 'Ed25519', x: 'x', kid });

describeOnEachEngine('stored verification keys', { migrations }, (openDatabase) => {
  it('are the last saved keys of their source, with their age', async () => {
    const store = createStoredKeys(await openDatabase());
    await assert.rejects(store.load(source), /no keys are stored for http/);
    await store.save(source, { keys: [key('a')], ageMs: 60_000 });
    const { keys, ageMs } = await store.load(source);
    assert.deepEqual(keys, [key('a')]);
    assert.ok(ageMs >= 60_000 && ageMs < 120_000, String(ageMs));
    await assert.rejects(store.load('http://another.test'), /no keys are stored for http/);
  });

  it('are not replaced by an older copy from another replica', async () => {
    const store = createStoredKeys(await openDatabase());
    await store.save('order', { keys: [key('new')] });
    await store.save('order', { keys: [key('withdrawn')], ageMs: 60_000 });
    assert.deepEqual((await store.load('order')).keys, [key('new')]);
  });
});
