import assert from 'node:assert/strict';
import { it } from 'node:test';
import { authorization, callerKinds } from './authorization.ts';
import { gatewayOperations } from './gateway.ts';
import { identityOperations } from './identity.ts';
import { orderOperations } from './orders.ts';
import type { Operation } from './protocol/operation.ts';
import { userOperations } from './users.ts';

const operations: Readonly<Record<string, Operation>> = {
  ...gatewayOperations,
  ...identityOperations,
  ...orderOperations,
  ...userOperations,
};

it('the table has every operation, and each row once', () => {
  const named = authorization.map(({ operation, when = '' }) => `${operation} ${when}`);
  assert.equal(new Set(named).size, named.length);
  assert.deepEqual(
    [...new Set(authorization.map(({ operation }) => operation))].sort(),
    Object.keys(operations).sort(),
  );
});

it('the table says the same as the access of each operation', () => {
  for (const { operation, status, when } of authorization) {
    const { access, answer } = operations[operation] as Operation;
    const name = `${operation} ${when ?? ''}`;
    if (access === 'public') {
      for (const kind of callerKinds) assert.equal(status[kind], answer.status, `${name}: ${kind}`);
      continue;
    }
    assert.equal(status['bad-token'], 401, name);
    assert.equal(status.admin, answer.status, name);
    if (access !== 'optional') assert.equal(status.anonymous, 401, name);
    if (access === 'admin') {
      for (const kind of ['stranger', 'user-other', 'user-self'] as const)
        assert.equal(status[kind], 403, `${name}: ${kind}`);
    }
    // Whoever asks for what is not theirs learns nothing from asking as somebody whom user-service knows.
    assert.equal(status.stranger, status['user-other'], name);
  }
});
