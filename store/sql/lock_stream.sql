-- Finds one stream and keeps every other writer from it until the transaction ends; columns as in stream_info.
-- $1 stream_uuid.
select stream_uuid, stream_id, stream_version, created_at, deleted_at
  from "{schema}".streams
 where stream_uuid = $1::text
   for update
