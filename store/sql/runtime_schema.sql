-- The runtime's own tables, beside the six of the contract, version 1. No binds; safe to run again.
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

-- The done-ledger: events above the checkpoint whose transactional handler has committed.
create table if not exists "{schema}".runtime_done_events (
  subscription_id bigint not null references "{schema}".subscriptions (subscription_id) on delete cascade,
  unit integer not null default 0,
  event_number bigint not null,
  primary key (subscription_id, unit, event_number)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

insert into "{schema}".runtime_migrations (version) values (1) on conflict do nothing;
