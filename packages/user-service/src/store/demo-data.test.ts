import assert from 'node:assert/strict';
import { it } from 'node:test';
import request from 'supertest';
import { openTestApp } from '../../testing/app.ts';
import { loadDemoUsers } from './demo-data.ts';

it('the demo users match the users and ids in the specification', async (context) => {
  const { app, database } = await openTestApp();
  context.after(() => database.close());
  await database.transaction(loadDemoUsers);
  const { body } = await request(app).get('/api/users').expect(200);
  assert.deepEqual(
    body.data.map(({ id, name, role }: { id: number; name: string; role: string }) => [id, name, role]),
    [
      [1, 'Alice Johnson', 'admin'],
      [2, 'Bob Smith', 'user'],
      [3, 'Charlie Brown', 'user'],
    ],
  );
  assert.equal((await request(app).get('/api/users/stats')).body.data.users, 3);
});
