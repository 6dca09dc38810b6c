-- Lists the parked events above a position, which need not be handled when they are read. $1 subscription_id, $2 unit,
-- $3 position.
select event_number
  from "{schema}".runtime_parked_events
 where subscription_id = $1::bigint and unit = $2::int and event_number > $3::bigint
 order by event_number
