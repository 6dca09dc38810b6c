-- Deletes a subscription; its runtime rows go with it. $1 stream_uuid, $2 subscription_name.
delete from "{schema}".subscriptions
 where stream_uuid = $1::text and subscription_name = $2::text
returning subscription_id
