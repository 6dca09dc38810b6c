-- Stores how often events were tried, if the epoch still owns the unit. $1 subscription_id, $2 unit, $3 epoch,
-- $4 event_numbers, $5 attempts, $6 crashes, $7 reasons. Returns whether the fence holds.
with owner as (
  select subscription_id, unit from "{schema}".runtime_owners
   where subscription_id = $1::bigint and unit = $2::int and epoch = $3::bigint
     for share
),
saved as (
  insert into "{schema}".runtime_attempts as a (subscription_id, unit, event_number, attempts, crashes, reason)
  select owner.subscription_id, owner.unit, n.event_number, n.attempts, n.crashes, n.reason
    from owner, unnest($4::bigint[], $5::int[], $6::int[], $7::text[]) as n (event_number, attempts, crashes, reason)
  on conflict (subscription_id, unit, event_number)
  do update set attempts = excluded.attempts, crashes = excluded.crashes, reason = excluded.reason, updated_at = now()
)
select exists (select from owner)
