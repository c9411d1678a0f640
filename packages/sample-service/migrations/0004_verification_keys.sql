-- Public keys of access tokens as their issuer last returned them: a process that starts while the issuer is unavailable reads them.
create table verification_keys (
  source text primary key,
  keys jsonb not null,
  loaded_at timestamptz not null
);
