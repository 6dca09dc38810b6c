-- Drops all that `init` made in a schema, events and checkpoints included; nothing else in it. No binds.
drop table if exists
  "{schema}".runtime_done_events, "{schema}".runtime_parked_events, "{schema}".runtime_attempts,
  "{schema}".runtime_subscriptions, "{schema}".runtime_owners, "{schema}".runtime_migrations,
  "{schema}".stream_events, "{schema}".events, "{schema}".streams, "{schema}".subscriptions, "{schema}".snapshots,
  "{schema}".schema_migrations;
drop function if exists "{schema}".notify_events();
drop function if exists "{schema}".event_store_delete();
drop function if exists "{schema}".event_store_exception();
drop function if exists "{schema}".runtime_json(bytea);
