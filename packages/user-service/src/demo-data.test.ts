import assert from 'node:assert/strict';
import { it } from 'node:test';
import request from 'supertest';
import { loadDemoUsers } from './demo-data.ts';
import { openTestApp } from './testing.ts';

it('the demo users are those of the specification, with the ids that its commands name', async (context) => {
  const { app, database } = await openTestApp();
  context.after(() => database.close());
  await database.write(loadDemoUsers);
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
