-- The event store schema, version 1.3.2 of commanded/eventstore: six tables, their triggers and functions. No binds.
-- Runs as one script in one transaction, inside an existing schema; notify_events.sql follows it.
create table "{schema}".streams (
  stream_id bigserial primary key,
  stream_uuid text not null,
  stream_version bigint not null default 0,
  created_at timestamp with time zone not null default now(),
  deleted_at timestamp with time zone
);
create unique index ix_streams_stream_uuid on "{schema}".streams (stream_uuid);

create table "{schema}".events (
  event_id uuid primary key,
  event_type text not null,
  causation_id uuid,
  correlation_id uuid,
  data {data_type} not null,
  metadata {data_type},
  created_at timestamp with time zone not null default now()
);

create table "{schema}".stream_events (
  event_id uuid not null references "{schema}".events (event_id),
  stream_id bigint not null references "{schema}".streams (stream_id),
  stream_version bigint not null,
  original_stream_id bigint references "{schema}".streams (stream_id),
  original_stream_version bigint,
  primary key (event_id, stream_id)
);
create unique index ix_stream_events on "{schema}".stream_events (stream_id, stream_version);

create table "{schema}".subscriptions (
  subscription_id bigserial primary key,
  stream_uuid text not null,
  subscription_name text not null,
  last_seen bigint,
  created_at timestamp with time zone not null default now()
);
create unique index ix_subscriptions_stream_uuid_subscription_name
  on "{schema}".subscriptions (stream_uuid, subscription_name);

create table "{schema}".snapshots (
  source_uuid text primary key,
  source_version bigint not null,
  source_type text not null,
  data {data_type} not null,
  metadata {data_type},
  created_at timestamp with time zone not null default now()
);

create table "{schema}".schema_migrations (
  major_version integer not null,
  minor_version integer not null,
  patch_version integer not null,
  migrated_at timestamp with time zone not null default now(),
  primary key (major_version, minor_version, patch_version)
);

-- Before the triggers exist, so that the seed announces no append.
insert into "{schema}".streams (stream_id, stream_uuid, stream_version) values (0, '$all', 0);
insert into "{schema}".schema_migrations (major_version, minor_version, patch_version) values (1, 3, 2);

create function "{schema}".event_store_exception() returns trigger language plpgsql as $function$
begin
  raise exception using message = 'EventStore: ' || tg_argv[0];
end;
$function$;

create function "{schema}".event_store_delete() returns trigger language plpgsql as $function$
begin
  if 'on' in (
    coalesce(current_setting('eventstore.enable_hard_deletes', true), ''),
    coalesce(current_setting('eventstore.reset', true), '')
  ) then
    return old;
  end if;
  raise exception using message = 'EventStore: ' || tg_argv[0], errcode = 'feature_not_supported';
end;
$function$;

create trigger no_update_events before update on "{schema}".events
  for each statement execute function "{schema}".event_store_exception('Cannot update events');
create trigger no_delete_events before delete on "{schema}".events
  for each statement execute function "{schema}".event_store_delete('Cannot delete events');
create trigger no_update_stream_events before update on "{schema}".stream_events
  for each statement execute function "{schema}".event_store_exception('Cannot update stream events');
create trigger no_delete_stream_events before delete on "{schema}".stream_events
  for each statement execute function "{schema}".event_store_delete('Cannot delete stream events');
create trigger no_delete_streams before delete on "{schema}".streams
  for each statement execute function "{schema}".event_store_delete('Cannot delete streams');
