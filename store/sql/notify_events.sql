-- What announces every append: the function and trigger of schema version 1.3.2, also over those of an older version.
-- No binds; runs as one script in one transaction.
-- The channel comes from the table that fired, so the body holds no schema name.
create or replace function "{schema}".notify_events() returns trigger language plpgsql as $function$
declare
  first_version bigint := 1;
begin
  if tg_op = 'UPDATE' then
    first_version := old.stream_version + 1;
  end if;
  perform pg_notify(
    tg_table_schema || '.events',
    concat_ws(',', new.stream_uuid, new.stream_id, first_version, new.stream_version)
  );
  return null;
end;
$function$;

drop trigger if exists event_notification on "{schema}".streams;
create trigger event_notification after insert or update on "{schema}".streams
  for each row execute function "{schema}".notify_events();
