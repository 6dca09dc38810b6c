-- Reads the events above a position that failed before or are to be skipped. $1 subscription_id, $2 unit, $3 position.
select event_number, attempts, crashes, skip, reason
  from "{schema}".runtime_attempts
 where subscription_id = $1::bigint and unit = $2::int and event_number > $3::bigint
 order by event_number
