-- Stores where and why a subscription halted, if the epoch still owns the unit. $1 subscription_id, $2 unit, $3 epoch,
-- $4 event_number, $5 reason. Returns whether the fence holds.
with owner as (
  select subscription_id from "{schema}".runtime_owners
   where subscription_id = $1::bigint and unit = $2::int and epoch = $3::bigint
     for share
),
halted as (
  update "{schema}".runtime_subscriptions t
     set halted_at = $4::bigint, halted_reason = $5::text, halted_since = now()
    from owner
   where t.subscription_id = owner.subscription_id
)
select exists (select from owner)
