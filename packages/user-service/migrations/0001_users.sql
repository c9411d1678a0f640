create table users (
  id integer generated always as identity primary key,
  name text not null,
  email text not null,
  role text not null check (role in ('admin', 'user')),
  version integer not null default 1,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);

-- Letter case does not make another address, whoever writes the row.
create unique index users_email_key on users (lower(email));
create index users_role_id on users (role, id);

-- The number of users, in slots by id modulo 16: writers at the same time seldom meet on a row.
create table user_counters (
  slot smallint primary key,
  users integer not null
) with (fillfactor = 50);
