-- Tells which of the given events are in the done-ledger. $1 subscription_id, $2 unit, $3 event_numbers.
select event_number
  from "{schema}".runtime_done_events
 where subscription_id = $1::bigint and unit = $2::int and event_number = any ($3::bigint[])
 order by event_number
