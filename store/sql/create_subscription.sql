-- Creates a subscription unless it exists (then no row comes back). $1 stream_uuid, $2 subscription_name,
-- $3 start: null for the origin, -1 for the head of the stream at this moment, or the last event number not to deliver.
-- What is stored at this moment counts as history for handlers that act on live events only.
with head as (
  select coalesce((select stream_version from "{schema}".streams where stream_uuid = $1::text), 0) as version
),
created as (
  insert into "{schema}".subscriptions (stream_uuid, subscription_name, last_seen)
  select $1, $2::text, case when $3::bigint = -1 then head.version else $3 end from head
  on conflict (stream_uuid, subscription_name) do nothing
  returning subscription_id, stream_uuid, subscription_name, last_seen, created_at
),
terms as (
  insert into "{schema}".runtime_subscriptions (subscription_id, live_after)
  select created.subscription_id, head.version from created, head
)
select subscription_id, stream_uuid, subscription_name, last_seen, created_at from created
