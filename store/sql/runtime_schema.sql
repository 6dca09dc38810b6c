-- The runtime's own tables, beside the six of the contract, version 2. No binds; safe to run again.
create table if not exists "{schema}".runtime_migrations (
  version integer primary key,
  migrated_at timestamp with time zone not null default now()
);

-- One row for each unit of ownership; the epoch grows with each new owner and fences the old one.
create table if not exists "{schema}".runtime_owners (
  subscription_id bigint not null references "{schema}".subscriptions (subscription_id) on delete cascade,
  unit integer not null default 0,
  epoch bigint not null,
  node text not null,
  owned_since timestamp with time zone not null default now(),
  primary key (subscription_id, unit)
) with (fillfactor = 50);

-- How the last ownership ended and began: in order or not, by which run of a node, and how often in a row it ended
-- otherwise without any progress, which is the mark of an event that kills whole nodes.
alter table "{schema}".runtime_owners
  add column if not exists released boolean not null default true,
  add column if not exists run text not null default '',
  add column if not exists began_at bigint,
  add column if not exists unclean integer not null default 0;

-- What operators want of a subscription, and what it has come to.
create table if not exists "{schema}".runtime_subscriptions (
  subscription_id bigint primary key references "{schema}".subscriptions (subscription_id) on delete cascade,
  paused boolean not null default false,
  replay_until bigint not null default 0,
  live_after bigint not null default 0,
  halted_at bigint,
  halted_reason text,
  halted_since timestamp with time zone
);

-- Events above the checkpoint that failed, that killed a worker, or that an operator wants to be skipped.
create table if not exists "{schema}".runtime_attempts (
  subscription_id bigint not null references "{schema}".subscriptions (subscription_id) on delete cascade,
  unit integer not null default 0,
  event_number bigint not null,
  attempts integer not null,
  crashes integer not null default 0,
  skip boolean not null default false,
  reason text not null default '',
  updated_at timestamp with time zone not null default now(),
  primary key (subscription_id, unit, event_number)
) with (fillfactor = 50);

-- Parked events: "parked" waits for an operator, "held" waits behind a parked one of its partition, "retry" and
-- "discard" are what an operator wants; the owner does it and removes the row.
create table if not exists "{schema}".runtime_parked_events (
  subscription_id bigint not null references "{schema}".subscriptions (subscription_id) on delete cascade,
  unit integer not null default 0,
  event_number bigint not null,
  event_id uuid not null,
  partition_key text,
  state text not null check (state in ('parked', 'held', 'retry', 'discard')),
  holds boolean not null default false,
  attempts integer not null,
  crashes integer not null,
  reason text not null,
  parked_at timestamp with time zone not null default now(),
  primary key (subscription_id, unit, event_number)
);
create index if not exists ix_runtime_parked_events_partition
  on "{schema}".runtime_parked_events (subscription_id, unit, partition_key, event_number);

-- The done-ledger: events above the checkpoint whose transactional handler has committed.
create table if not exists "{schema}".runtime_done_events (
  subscription_id bigint not null references "{schema}".subscriptions (subscription_id) on delete cascade,
  unit integer not null default 0,
  event_number bigint not null,
  primary key (subscription_id, unit, event_number)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Data of an event as jsonb, for filters on bytea columns; null where it is no JSON. JSON can hold the character
-- U+0000, jsonb cannot: U+FFFD takes its place, so that the event is still found by its other values.
create or replace function "{schema}".runtime_json(payload bytea) returns jsonb
  language plpgsql immutable strict parallel safe cost 1000 as $function$
begin
  return convert_from(payload, 'UTF8')::jsonb;
exception
  when untranslatable_character then
    begin
      return regexp_replace(convert_from(payload, 'UTF8'), '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::jsonb;
    exception when data_exception or program_limit_exceeded then
      return null;
    end;
  when data_exception or program_limit_exceeded then
    return null;
end;
$function$;

insert into "{schema}".runtime_migrations (version) values (1), (2) on conflict do nothing;
