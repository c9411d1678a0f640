create table sample_items (
  id integer generated always as identity primary key,
  user_id integer not null,
  name text not null,
  version integer not null default 1,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);

-- For the list of one user, which is paged by id.
create index sample_items_user_id on sample_items (user_id, id);
