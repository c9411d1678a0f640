-- Every processed event, in order of processing. A repeated event finds its row here.
create table inbox (
  position bigint generated always as identity primary key,
  source text not null,
  event_id text not null,
  type text not null,
  subject text not null,
  version bigint not null,
  -- False if a newer version of the subject was processed before.
  applied boolean not null,
  received_at timestamptz not null default now(),
  unique (event_id, source)
);
create index inbox_received_at on inbox (received_at);

-- The newest applied version of each subject. Rows are never removed: that of a deleted subject is its tombstone.
create table inbox_subjects (
  source text not null,
  subject text not null,
  version bigint not null,
  primary key (source, subject)
) with (fillfactor = 80);

-- Failures of events that are not processed yet.
create table inbox_failures (
  source text not null,
  event_id text not null,
  failures integer not null,
  error text not null,
  failed_at timestamptz not null default now(),
  primary key (event_id, source)
);
