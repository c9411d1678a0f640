-- Users as far as orders must know them. The row of a deleted user stays, so that nothing that comes late makes them known
-- again; ids of users are never used twice.
create table known_users (
  user_id integer primary key,
  deleted boolean not null default false
) with (fillfactor = 90);
