-- The source of a received event, because two sources can use the same event id. Null in rows of version 0.1.0.
alter table dead_letters add column source text;
