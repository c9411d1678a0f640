create table idempotency_keys (
  caller text not null,
  method text not null,
  path text not null,
  key text not null,
  fingerprint text not null,
  answer json,
  created_at timestamptz not null default now(),
  primary key (caller, method, path, key)
);
create index idempotency_keys_created_at on idempotency_keys (created_at);
