import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeWithHelm } from './testing-helm.ts';

const withoutGateway = { 'gateway.enabled': false };

/** Values that need a warning, each with a part of it. */
const warnings = [
  [{}, /user-service and order-service: a PostgreSQL of one pod/],
  [{ 'global.nats.type': 'bundled' }, /a NATS of one pod/],
  [{ 'global.valkey.type': 'bundled' }, /a Valkey of one pod/],
  [{ 'global.nats.type': 'bundled', 'global.nats.signatures': 'accept-unsigned' }, /without a signature/],
  [{ 'global.auth.mode': 'off' }, /global\.auth\.mode=required/],
  [{ 'global.demoData': true }, /demo data is loaded/],
  [{ 'global.networkPolicies': false }, /global\.networkPolicies=true/],
] as const;

await describeWithHelm('notes of the installation', ({ notes }) => {
  for (const [values, warning] of warnings) {
    it(`have the warning ${warning.source}, with and without a gateway`, async () => {
      assert.match(await notes(values), warning);
      assert.match(await notes({ ...values, ...withoutGateway }), warning);
    });
  }

  it('have no warning when all of it is for production', async () => {
    const external = { type: 'external', external: { existingSecret: 'database-app' } };
    const text = await notes({ 'user-service.database': external, 'order-service.database': external });
    assert.doesNotMatch(text, /For trying only|without a signature/);
  });

  it('have no warning about the database of a service that is not installed', async () => {
    assert.match(await notes({ 'order-service.enabled': false }), /^ {2}- user-service: a PostgreSQL/m);
  });

  it('have no command that needs a gateway where there is none', async () => {
    const needsGateway = /\/api\/|port-forward|X-Forwarded-For|helm test/g;
    assert.equal(new Set((await notes()).match(needsGateway)).size, 4);
    const text = await notes(withoutGateway);
    assert.match(text, /^zerda \S+ is installed as zerda in namespace zerda, without a gateway\.$/m);
    assert.doesNotMatch(text, needsGateway);
  });
});
