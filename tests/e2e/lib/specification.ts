import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '../../../packages/chassis/testing/wait.ts';
import { lines } from '../../system/lib/specification-lines.ts';

const run = promisify(execFile);

/**
 * Runs the commands of the specification and verifies their output, with a curl that connects to `address` instead of localhost:8000 and
 * sends `host` as the Host header.
 */
export async function verifySpecification(t: TestContext, address: string, host?: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'zerda-curl-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(
    join(folder, '.curlrc'),
    [
      'silent',
      'show-error',
      'fail-with-body',
      'max-time = 20',
      `connect-to = "localhost:8000:${address}"`,
      ...(host === undefined ? [] : [`header = "Host: ${host}"`]),
    ].join('\n'),
  );
  const curl = async (line: string) => {
    const { stdout } = await run('sh', ['-c', line], { env: { ...process.env, CURL_HOME: folder } });
    const response = JSON.parse(stdout);
    assert.equal(response.status, 'success', stdout);
    return response.data;
  };

  // The controller may need seconds until it serves a new route.
  const health = await eventually(() => curl(lines.health), 'a healthy gateway', 30_000);
  assert.equal(health.overall_status, 'healthy');
  assert.deepEqual(Object.keys(health.services).sort(), ['order_service', 'user_service']);

  const { user, orders } = await curl(lines.profile);
  assert.deepEqual(
    [user.id, user.name, user.email, user.role],
    [1, 'Alice Johnson', 'alice@example.com', 'admin'],
  );
  assert.deepEqual([orders[0].product, orders[0].total], ['Laptop', 999.99]);

  const before = await curl(lines.dashboard);
  assert.equal(before.total_revenue, 1549.97);
  const created = await curl(lines.createUser);
  assert.deepEqual([created.name, created.email, created.role], ['John Doe', 'john@example.com', 'user']);
  const order = await curl(lines.placeOrder);
  assert.deepEqual([order.user_id, order.total, order.status], [1, 999.99, 'pending']);
  const names = (await curl(lines.listUsers)).map(({ name }: { name: string }) => name);
  for (const name of ['Alice Johnson', 'Bob Smith', 'Charlie Brown', 'John Doe'])
    assert.ok(names.includes(name));
  const after = await curl(lines.dashboard);
  assert.deepEqual(
    [after.total_users - before.total_users, after.total_orders - before.total_orders],
    [1, 1],
  );
  // Restore the initial state for the next test. Orders remain as canceled ones.
  await curl(`curl -X DELETE http://localhost:8000/api/users/${created.id}`);
  await curl(`curl -X DELETE http://localhost:8000/api/orders/${order.id}`);
}
