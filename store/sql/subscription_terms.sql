-- Reads what holds for subscriptions now. $1 subscription_ids. Returns subscription_id, the owner's epoch, paused,
-- halted_at, halted_reason, replay_until, live_after, the number of parked rows, and whether some of them are due.
select s.subscription_id, coalesce(o.epoch, 0), coalesce(t.paused, false), t.halted_at, t.halted_reason,
       coalesce(t.replay_until, 0), coalesce(t.live_after, 0), p.entries, p.is_due
  from "{schema}".subscriptions s
  left join "{schema}".runtime_owners o on o.subscription_id = s.subscription_id and o.unit = 0
  left join "{schema}".runtime_subscriptions t on t.subscription_id = s.subscription_id
 cross join lateral (
   select count(*) as entries,
          coalesce(bool_or(state in ('retry', 'discard')), false)
            -- A held one can be due only where nobody waits for an operator in front of it.
            or coalesce(bool_or(state = 'held' and not exists (
                 select from "{schema}".runtime_parked_events f
                  where f.subscription_id = e.subscription_id and f.unit = e.unit
                    and f.partition_key = e.partition_key and f.event_number < e.event_number
                    and f.state = 'parked')), false) as is_due
     from "{schema}".runtime_parked_events e
    where e.subscription_id = s.subscription_id and e.unit = 0
 ) p
 where s.subscription_id = any ($1::bigint[])
