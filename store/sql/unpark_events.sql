-- Removes parked events that are done with, if the epoch still owns the unit; those above the checkpoint, which may be read
-- again, are noted as done. $1 subscription_id, $2 unit, $3 epoch, $4 event_numbers. Returns whether the fence holds.
with owner as (
  select o.subscription_id, o.unit, coalesce(s.last_seen, 0) as last_seen
    from "{schema}".runtime_owners o join "{schema}".subscriptions s on s.subscription_id = o.subscription_id
   where o.subscription_id = $1::bigint and o.unit = $2::int and o.epoch = $3::bigint
     for share of o
),
removed as (
  delete from "{schema}".runtime_parked_events p using owner
   where p.subscription_id = owner.subscription_id and p.unit = owner.unit and p.event_number = any ($4::bigint[])
),
forgotten_done as (
  delete from "{schema}".runtime_done_events d using owner
   where d.subscription_id = owner.subscription_id and d.unit = owner.unit and d.event_number = any ($4)
     and d.event_number <= owner.last_seen
),
forgotten_attempts as (
  delete from "{schema}".runtime_attempts a using owner
   where a.subscription_id = owner.subscription_id and a.unit = owner.unit and a.event_number = any ($4)
     and a.event_number <= owner.last_seen
),
noted as (
  insert into "{schema}".runtime_attempts (subscription_id, unit, event_number, attempts, skip, reason)
  select owner.subscription_id, owner.unit, n.event_number, 1, true, 'it was parked and is done'
    from owner, unnest($4) as n (event_number)
   where n.event_number > owner.last_seen
  on conflict (subscription_id, unit, event_number) do update set skip = true, reason = excluded.reason
)
select exists (select from owner)
