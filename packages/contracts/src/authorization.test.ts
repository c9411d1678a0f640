import assert from 'node:assert/strict';
import { it } from 'node:test';
import { callerKinds } from './authorization.ts';
import type { Operation } from './protocol/operation.ts';
import { contracts } from './services.ts';

for (const { name, operations, authorization } of contracts) {
  it(`the authorization table of ${name} contains every operation and no duplicate row`, () => {
    const rowNames = authorization.map(({ operation, when = '' }) => `${operation} ${when}`);
    assert.equal(new Set(rowNames).size, rowNames.length);
    assert.deepEqual(
      [...new Set(authorization.map(({ operation }) => operation))].sort(),
      Object.keys(operations).sort(),
    );
  });
}

for (const { name, operations, audit } of contracts) {
  it(`the contract of ${name} describes the audit action of each operation`, () => {
    const actions = Object.values(operations).flatMap((operation: Operation) => operation.audit ?? []);
    assert.deepEqual(
      actions.filter((action) => !Object.hasOwn(audit, action)),
      [],
    );
  });
}

it('the names of operations are unique in the system', () => {
  const names = contracts.flatMap(({ operations }) => Object.keys(operations));
  assert.equal(new Set(names).size, names.length);
});

const operations: Readonly<Record<string, Operation>> = Object.assign(
  {},
  ...contracts.map((contract) => contract.operations),
);
const authorization = contracts.flatMap((contract) => contract.authorization);

it('the table agrees with the access of each operation', () => {
  for (const { operation, status, when } of authorization) {
    const { access, response } = operations[operation] as Operation;
    const name = `${operation} ${when ?? ''}`;
    if (access === 'public') {
      for (const kind of callerKinds) assert.equal(status[kind], response.status, `${name}: ${kind}`);
      continue;
    }
    assert.equal(status['bad-token'], 401, name);
    assert.equal(status.admin, response.status, name);
    if (access !== 'optional') assert.equal(status.anonymous, 401, name);
    if (access === 'admin') {
      for (const kind of ['unregistered', 'user-other', 'user-self'] as const)
        assert.equal(status[kind], 403, `${name}: ${kind}`);
    }
    // For a resource of another user, registered and unregistered callers get the same status.
    assert.equal(status.unregistered, status['user-other'], name);
  }
});
