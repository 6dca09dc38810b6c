-- Creates a subscription unless it exists (then no row comes back). $1 stream_uuid, $2 subscription_name,
-- $3 start: null for the origin, -1 for the head of the stream at this moment, or the last event number not to deliver.
insert into "{schema}".subscriptions (stream_uuid, subscription_name, last_seen)
select $1::text, $2::text,
       case when $3::bigint = -1
            then coalesce((select stream_version from "{schema}".streams where stream_uuid = $1), 0)
            else $3 end
on conflict (stream_uuid, subscription_name) do nothing
returning subscription_id, stream_uuid, subscription_name, last_seen, created_at
