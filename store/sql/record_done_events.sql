-- Records events as done, in the handler's own transaction, if the epoch still owns the unit. $1 subscription_id, $2 unit,
-- $3 epoch, $4 event_numbers. Returns whether the fence holds and how many were new; the share lock keeps a new owner
-- waiting until this transaction ends.
with owner as (
  select subscription_id, unit from "{schema}".runtime_owners
   where subscription_id = $1::bigint and unit = $2::int and epoch = $3::bigint
     for share
),
recorded as (
  insert into "{schema}".runtime_done_events (subscription_id, unit, event_number)
  select owner.subscription_id, owner.unit, n.event_number
    from owner, unnest($4::bigint[]) as n (event_number)
  on conflict do nothing
  returning 1
)
select exists (select from owner), (select count(*) from recorded)
