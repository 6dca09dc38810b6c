-- Marks a stream as deleted; no row back means that the expected version did not match. Its events stay, in $all too.
-- $1 stream_uuid, $2 expected version (n exact, below 0 any).
update "{schema}".streams
   set deleted_at = now()
 where stream_uuid = $1::text and deleted_at is null and ($2::bigint < 0 or stream_version = $2)
returning stream_id
