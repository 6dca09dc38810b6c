-- Pauses or resumes a subscription. $1 subscription_id, $2 whether it is paused. Returns whether that changed anything.
with before as (
  select paused from "{schema}".runtime_subscriptions where subscription_id = $1::bigint for update
),
changed as (
  insert into "{schema}".runtime_subscriptions (subscription_id, paused)
  values ($1, $2::boolean)
  on conflict (subscription_id) do update set paused = excluded.paused
)
select coalesce((select paused from before), false) <> $2
