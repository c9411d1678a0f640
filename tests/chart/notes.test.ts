import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeWithHelm } from './lib/helm.ts';

const withoutGateway = { 'gateway.enabled': false };

/** Values and a part of the warning that the notes print for them. */
const warnings = [
  [{}, /order-service and user-service: a PostgreSQL with one pod/],
  [{ 'global.nats.type': 'bundled' }, /a NATS with one pod/],
  [{ 'global.valkey.type': 'bundled' }, /a Valkey with one pod/],
  [{ 'global.nats.type': 'bundled', 'global.nats.signatures': 'accept-unsigned' }, /without a signature/],
  [{ 'global.auth.mode': 'off' }, /global\.auth\.mode=required/],
  [{ 'global.demoData': true }, /demo data is loaded/],
  [{ 'global.networkPolicies': false }, /global\.networkPolicies=true/],
] as const;

await describeWithHelm('install notes', ({ notes }) => {
  for (const [values, warning] of warnings) {
    it(`print the warning ${warning.source}, with and without a gateway`, async () => {
      assert.match(await notes(values), warning);
      assert.match(await notes({ ...values, ...withoutGateway }), warning);
    });
  }

  it('print no warning with production values', async () => {
    const external = { type: 'external', external: { existingSecret: 'database-app' } };
    const text = await notes({ 'user-service.database': external, 'order-service.database': external });
    assert.doesNotMatch(text, /Not for production|without a signature/);
  });

  it('print no warning about the database of a disabled service', async () => {
    assert.match(await notes({ 'order-service.enabled': false }), /^ {2}- user-service: a PostgreSQL/m);
  });

  it('print no command that needs a gateway when the gateway is disabled', async () => {
    const needsGateway = /\/api\/|port-forward|X-Forwarded-For|helm test/g;
    assert.equal(new Set((await notes()).match(needsGateway)).size, 4);
    const text = await notes(withoutGateway);
    assert.match(text, /^zerda \S+ is installed as zerda in namespace zerda, without a gateway\.$/m);
    assert.doesNotMatch(text, needsGateway);
  });
});
