-- Parks events, or parks them again, if the epoch still owns the unit; one that is to be discarded meanwhile stays so.
-- $1 subscription_id, $2 unit, $3 epoch, $4 event_numbers, $5 event_ids, $6 partition_keys, $7 states, $8 whether each
-- holds its partition, $9 attempts, $10 crashes, $11 reasons. Returns whether the fence holds.
with owner as (
  select subscription_id, unit from "{schema}".runtime_owners
   where subscription_id = $1::bigint and unit = $2::int and epoch = $3::bigint
     for share
),
parked as (
  insert into "{schema}".runtime_parked_events as p
         (subscription_id, unit, event_number, event_id, partition_key, state, holds, attempts, crashes, reason)
  select owner.subscription_id, owner.unit, n.event_number, n.event_id, n.partition_key, n.state, n.holds, n.attempts,
         n.crashes, n.reason
    from owner, unnest($4::bigint[], $5::uuid[], $6::text[], $7::text[], $8::boolean[], $9::int[], $10::int[], $11::text[])
           as n (event_number, event_id, partition_key, state, holds, attempts, crashes, reason)
  on conflict (subscription_id, unit, event_number)
  do update set state = case p.state when 'discard' then p.state else excluded.state end, holds = excluded.holds,
                attempts = excluded.attempts, crashes = excluded.crashes, reason = excluded.reason, parked_at = now()
)
select exists (select from owner)
