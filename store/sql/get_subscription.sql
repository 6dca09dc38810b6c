-- Finds one subscription. $1 stream_uuid, $2 subscription_name.
select subscription_id, stream_uuid, subscription_name, last_seen, created_at
  from "{schema}".subscriptions
 where stream_uuid = $1::text and subscription_name = $2::text
