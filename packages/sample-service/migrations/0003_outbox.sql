-- Events to send, in the order they were written. A row is written while the row of its subject is locked, so for one
-- subject the order of positions is that of the commits.
create table outbox (
  position bigint generated always as identity primary key,
  id uuid not null,
  type text not null,
  subject text not null,
  event json not null,
  created_at timestamptz not null default now(),
  -- No relay claims it before this time: the lease of a relay, or the pause after a failure.
  claimed_until timestamptz,
  -- Number of claims. It also shows the holder of an expired lease that another relay has claimed the event.
  attempts integer not null default 0,
  sent_at timestamptz
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
create index outbox_unsent on outbox (position) where sent_at is null;
create index outbox_unsent_subject on outbox (subject, position) where sent_at is null;
create index outbox_sent_at on outbox (sent_at) where sent_at is not null;

-- Events that are not retried: `sending` for those that a sink rejected, `receiving` for those that a handler could not process.
create table dead_letters (
  id bigint generated always as identity primary key,
  side text not null check (side in ('sending', 'receiving')),
  event_id text not null,
  type text not null,
  subject text not null,
  event text not null,
  error text not null,
  attempts integer not null,
  failed_at timestamptz not null default now(),
  unique (event_id, side)
);
