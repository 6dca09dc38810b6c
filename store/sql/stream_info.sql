-- Finds one stream, also a soft-deleted one. $1 stream_uuid.
select stream_uuid, stream_id, stream_version, created_at, deleted_at
  from "{schema}".streams
 where stream_uuid = $1::text
