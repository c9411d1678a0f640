import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { expandProfile } from './chart-profiles.ts';

const all = [
  { name: 'users', database: true },
  { name: 'card-payments', database: true },
  { name: 'quotes', database: false },
  { name: 'gateway', database: false },
];
const databases: Readonly<Record<string, string>> = { users: 'users', 'card-payments': 'card_payments' };
const expand = (profile: string) => expandProfile(profile, all, (service) => databases[service] ?? '');

describe('a profile of the chart', () => {
  it('has the values of <service> for each service without values of its own', () => {
    const profile = `# To pin an image, set <service>.image.digest.
gateway:
  replicas: 3

<service>:
  replicas: 2
  database: {external: {existingSecret: <database>-app, of: <service>}}

monitoring: {}
`;
    assert.equal(
      expand(profile),
      `# To pin an image, set <service>.image.digest.
gateway:
  replicas: 3

users:
  replicas: 2
  database: {external: {existingSecret: users-app, of: users}}

card-payments:
  replicas: 2
  database: {external: {existingSecret: card-payments-app, of: card-payments}}

quotes:
  replicas: 2

monitoring: {}
`,
    );
  });

  it('has no entry of a service for which no value is left', () => {
    assert.equal(
      expand('<service>:\n  database: {size: 1Gi}\n'),
      'users:\n  database: {size: 1Gi}\n\ncard-payments:\n  database: {size: 1Gi}\n',
    );
  });
});
