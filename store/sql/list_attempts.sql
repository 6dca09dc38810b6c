-- Reads the events above a position that failed before or are to be skipped, and parked ones that are on their way again;
-- one that waits for an operator begins anew. $1 subscription_id, $2 unit, $3 position.
select a.event_number, a.attempts, a.crashes, a.skip, a.reason
  from "{schema}".runtime_attempts a
  left join "{schema}".runtime_parked_events p
    on p.subscription_id = a.subscription_id and p.unit = a.unit and p.event_number = a.event_number
 where a.subscription_id = $1::bigint and a.unit = $2::int and (a.event_number > $3::bigint or p.state is not null)
   and (a.skip or p.state is distinct from 'parked')
 order by a.event_number
