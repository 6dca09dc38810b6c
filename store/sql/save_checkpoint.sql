-- Saves a checkpoint if the epoch still owns the unit and the checkpoint moves forward, and forgets what is remembered of
-- events up to it; not of parked ones, which are still to be handled. $1 subscription_id, $2 unit, $3 epoch, $4 last_seen.
-- Returns two booleans: does the fence hold, did last_seen move.
with owner as (
  select subscription_id, unit from "{schema}".runtime_owners
   where subscription_id = $1::bigint and unit = $2::int and epoch = $3::bigint
     for share
),
moved as (
  update "{schema}".subscriptions s
     set last_seen = $4::bigint
    from owner
   where s.subscription_id = owner.subscription_id and (s.last_seen is null or s.last_seen < $4)
  returning 1
),
forgotten_done as (
  delete from "{schema}".runtime_done_events d
   using owner
   where d.subscription_id = owner.subscription_id and d.unit = owner.unit and d.event_number <= $4
     and not exists (select from "{schema}".runtime_parked_events p
                      where p.subscription_id = d.subscription_id and p.unit = d.unit and p.event_number = d.event_number)
),
forgotten_attempts as (
  delete from "{schema}".runtime_attempts a
   using owner
   where a.subscription_id = owner.subscription_id and a.unit = owner.unit and a.event_number <= $4
     and not exists (select from "{schema}".runtime_parked_events p
                      where p.subscription_id = a.subscription_id and p.unit = a.unit and p.event_number = a.event_number)
)
select exists (select from owner), exists (select from moved)
