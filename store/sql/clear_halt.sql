-- Lets a halted subscription try again, with a fresh count of the event it halted at. $1 subscription_id.
-- Returns the event number it was halted at, no row where it was not.
with halted as (
  select subscription_id, halted_at from "{schema}".runtime_subscriptions
   where subscription_id = $1::bigint and halted_at is not null
     for update
),
cleared as (
  update "{schema}".runtime_subscriptions t
     set halted_at = null, halted_reason = null, halted_since = null
    from halted
   where t.subscription_id = halted.subscription_id
),
forgotten as (
  delete from "{schema}".runtime_attempts a using halted
   where a.subscription_id = halted.subscription_id and a.event_number = halted.halted_at and not a.skip
)
select halted_at from halted
