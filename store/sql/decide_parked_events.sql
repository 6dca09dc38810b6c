-- Says what is to become of parked events: the owner does it. $1 subscription_id, $2 "retry" or "discard",
-- $3 event_numbers or null for all, $4 partition_key or null for all, $5 highest event_number. To retry means those that
-- wait for an operator, since held ones follow by themselves, and their attempts are forgotten; to discard, also those that
-- are to be retried. Returns the event numbers.
with decided as (
  update "{schema}".runtime_parked_events
     set state = $2::text
   where subscription_id = $1::bigint and ($3::bigint[] is null or event_number = any ($3))
     and ($4::text is null or partition_key = $4) and event_number <= $5::bigint
     and (state = 'parked' or ($2 = 'discard' and state in ('held', 'retry')))
  returning subscription_id, unit, event_number
),
forgotten as (
  delete from "{schema}".runtime_attempts a
   using decided d
   where a.subscription_id = d.subscription_id and a.unit = d.unit and a.event_number = d.event_number and not a.skip
)
select event_number from decided
