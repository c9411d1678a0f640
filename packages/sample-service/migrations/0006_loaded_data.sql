-- Data sets that were loaded, such as the demo data. Version 0.1.0 created the table when it loaded the first one.
create table if not exists loaded_data (
  name text primary key,
  loaded_at timestamptz not null default now()
);
