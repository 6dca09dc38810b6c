-- Lists every subscription, in order of creation. No binds.
select subscription_id, stream_uuid, subscription_name, last_seen, created_at
  from "{schema}".subscriptions
 order by subscription_id
