-- Moves a subscription to another position and forgets what is remembered of the events behind it; run after fence_owner
-- in one transaction. $1 subscription_id, $2 the last event number not to deliver.
-- Returns last_seen before, null at the origin.
with before as (
  select subscription_id, stream_uuid, last_seen from "{schema}".subscriptions
   where subscription_id = $1::bigint for update
),
moved as (
  update "{schema}".subscriptions s set last_seen = $2::bigint from before
   where s.subscription_id = before.subscription_id
),
terms as (
  insert into "{schema}".runtime_subscriptions as t (subscription_id, replay_until, live_after)
  select before.subscription_id, coalesce(before.last_seen, 0),
         coalesce((select stream_version from "{schema}".streams s where s.stream_uuid = before.stream_uuid), 0)
    from before
  on conflict (subscription_id)
  do update set replay_until = greatest(t.replay_until, excluded.replay_until), live_after = excluded.live_after,
                halted_at = null, halted_reason = null, halted_since = null
),
done as (
  delete from "{schema}".runtime_done_events where subscription_id = $1 and event_number > $2
),
attempts as (
  delete from "{schema}".runtime_attempts where subscription_id = $1 and (event_number > $2 or skip)
),
parked as (
  delete from "{schema}".runtime_parked_events where subscription_id = $1 and event_number > $2
)
select last_seen from before
