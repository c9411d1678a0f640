/**
 * Triggers for both databases. They record the changes of each transaction within that transaction, and make statements fail when a
 * switch is set.
 */
const common = `
  create schema faults;
  create table faults.acts (
    position bigint generated always as identity primary key,
    transaction xid8 not null default pg_current_xact_id(),
    relation text not null,
    operation text not null,
    key text not null,
    version bigint not null,
    state jsonb
  );
  create table faults.switches (name text primary key, remainder int not null);

  create function faults.full_disk() returns trigger language plpgsql as $$
  begin
    if exists (select 1 from faults.switches where name = 'disk-full') then
      raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';
    end if;
    return new;
  end $$;
  create trigger full_disk before insert on outbox for each row execute function faults.full_disk();

  create function faults.outbox_inserted() returns trigger language plpgsql as $$
  begin
    insert into faults.acts (relation, operation, key, version)
      values ('outbox', 'insert', new.id::text, (new.event->>'sequence')::bigint);
    return null;
  end $$;
  create trigger outbox_inserted after insert on outbox for each row execute function faults.outbox_inserted();

  create function faults.dead_lettered() returns trigger language plpgsql as $$
  begin
    insert into faults.acts (relation, operation, key, version) values ('dead_letters', 'insert', new.event_id, 0);
    return null;
  end $$;
  create trigger dead_lettered after insert on dead_letters for each row execute function faults.dead_lettered();

  create function faults.row_changed() returns trigger language plpgsql as $$
  begin
    if tg_op = 'DELETE' then
      insert into faults.acts (relation, operation, key, version)
        values (tg_table_name, 'delete', old.id::text, old.version + 1);
    else
      insert into faults.acts (relation, operation, key, version, state)
        values (tg_table_name, lower(tg_op), new.id::text, new.version, to_jsonb(new));
    end if;
    return null;
  end $$;`;

/** Triggers for the database of user-service. */
export const userInstruments = `${common}
  create trigger row_changed after insert or update or delete on users
    for each row execute function faults.row_changed();`;

/**
 * Triggers for the database of order-service. The trigger on known_users runs before the insert, because it must also record an effect
 * whose row exists. Otherwise a repeated effect would leave no trace.
 */
export const orderInstruments = `${common}
  create trigger row_changed after insert or update or delete on orders
    for each row execute function faults.row_changed();

  create function faults.effect() returns trigger language plpgsql as $$
  begin
    if exists (select 1 from faults.switches where name = 'failing-handler' and new.user_id % 3 = remainder) then
      raise exception 'the handler fails because of a switch';
    end if;
    insert into faults.acts (relation, operation, key, version)
      values ('known_users', 'effect', new.user_id::text, 0);
    return new;
  end $$;
  create trigger effect before insert on known_users for each row execute function faults.effect();

  create function faults.inbox_inserted() returns trigger language plpgsql as $$
  begin
    insert into faults.acts (relation, operation, key, version)
      values ('inbox', 'insert', new.event_id, new.version);
    return null;
  end $$;
  create trigger inbox_inserted after insert on inbox for each row execute function faults.inbox_inserted();

  create function faults.inbox_failed() returns trigger language plpgsql as $$
  begin
    insert into faults.acts (relation, operation, key, version)
      values ('inbox_failures', 'insert', new.event_id, new.failures);
    return null;
  end $$;
  create trigger inbox_failed after insert or update on inbox_failures
    for each row execute function faults.inbox_failed();

  create function faults.inbox_subject_changed() returns trigger language plpgsql as $$
  begin
    insert into faults.acts (relation, operation, key, version)
      values ('inbox_subjects', lower(tg_op), new.subject, new.version);
    return null;
  end $$;
  create trigger inbox_subject_changed after insert or update on inbox_subjects
    for each row execute function faults.inbox_subject_changed();`;

/** Tables that are truncated before each seed. Sequences continue, because ids of users are never reused. */
export const userTables =
  'users, user_counters, idempotency_keys, outbox, dead_letters, faults.acts, faults.switches';
export const orderTables =
  'orders, order_counters, user_order_counters, known_users, inbox, inbox_subjects, inbox_failures, ' +
  'idempotency_keys, outbox, dead_letters, faults.acts, faults.switches';
