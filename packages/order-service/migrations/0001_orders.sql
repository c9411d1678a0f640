create table orders (
  id integer generated always as identity primary key,
  user_id integer not null,
  product text not null,
  quantity integer not null check (quantity > 0),
  total_cents integer not null check (total_cents > 0),
  status text not null check (status in ('pending', 'processing', 'shipped', 'completed', 'cancelled')),
  version integer not null default 1,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);

-- One for each way to filter a list, ending in the key that the list is paged by.
create index orders_user_id on orders (user_id, id);
create index orders_status_id on orders (status, id);
create index orders_user_status_id on orders (user_id, status, id);

-- Orders by status with their sums, in slots by order id modulo 16: writers at the same time seldom meet on a row.
create table order_counters (
  slot smallint not null,
  status text not null,
  orders integer not null,
  total_cents bigint not null,
  primary key (slot, status)
) with (fillfactor = 50);

create table user_order_counters (
  user_id integer primary key,
  orders integer not null
) with (fillfactor = 80);
