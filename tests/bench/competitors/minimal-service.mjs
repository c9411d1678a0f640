import { randomUUID } from 'node:crypto';
import express from 'express';
import pg from 'pg';

/**
 * The least that does the work of user-service and order-service: Express and pg with prepared statements. A write is one transaction that
 * also inserts an event. It has no validation, idempotency, counters, metrics or logs.
 */
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

await pool.query(`
  create table if not exists users (id integer generated always as identity primary key, name text not null,
    email text not null unique, version integer not null default 1, created_at timestamptz(3) not null default now());
  create table if not exists orders (id integer generated always as identity (start with 1000000) primary key, user_id integer not null,
    product text not null, quantity integer not null, total_cents integer not null, status text not null,
    version integer not null default 1, created_at timestamptz(3) not null default now());
  create index if not exists orders_user_id on orders (user_id, id);
  create table if not exists outbox (position bigint generated always as identity primary key, id uuid not null, event json not null)`);

/** Runs a statement that changes one row and inserts its event, in one transaction. Returns the row. */
async function write(name, text, values) {
  const client = await pool.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query({ name, text, values });
    await client.query({
      name: 'outbox',
      text: 'insert into outbox (id, event) values ($1, $2)',
      values: [randomUUID(), JSON.stringify(rows[0])],
    });
    await client.query('commit');
    return rows[0];
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}

async function read(name, text, values) {
  return (await pool.query({ name, text, values })).rows;
}

const app = express();
app.use(express.json());
app.get('/ready', (_request, response) => response.json({ ready: true }));
app.get('/api/users/:id', async ({ params }, response) => {
  const [data] = await read('user', 'select * from users where id = $1', [params.id]);
  response.json({ status: 'success', data });
});
app.get('/api/users', async ({ query }, response) => {
  const data = await read('users', 'select * from users where id > $1 order by id limit $2', [
    0,
    query.limit,
  ]);
  response.json({ status: 'success', data });
});
app.post('/api/users', async ({ body }, response) => {
  const values = [body.name, body.email];
  const data = await write(
    'insert user',
    'insert into users (name, email) values ($1, $2) returning *',
    values,
  );
  response.status(201).json({ status: 'success', data });
});
app.put('/api/users/:id', async ({ params, body }, response) => {
  const text = 'update users set name = $2, version = version + 1 where id = $1 returning *';
  response.json({ status: 'success', data: await write('update user', text, [params.id, body.name]) });
});
app.get('/api/orders/:id', async ({ params }, response) => {
  const [data] = await read('order', 'select * from orders where id = $1', [params.id]);
  response.json({ status: 'success', data });
});
app.post('/api/orders', async ({ body }, response) => {
  const text =
    'insert into orders (user_id, product, quantity, total_cents, status) values ($1, $2, $3, $4, $5) returning *';
  const values = [body.user_id, body.product, body.quantity, Math.round(body.total * 100), 'pending'];
  response.status(201).json({ status: 'success', data: await write('insert order', text, values) });
});
app.put('/api/orders/:id/status', async ({ params, body }, response) => {
  const text = 'update orders set status = $2, version = version + 1 where id = $1 returning *';
  response.json({ status: 'success', data: await write('update order', text, [params.id, body.status]) });
});
app.listen(Number(process.env.PORT), '127.0.0.1');
