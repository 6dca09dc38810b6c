-- Reads the versions of many streams at once; unknown names give no row. $1 stream_uuids.
select stream_uuid, stream_version
  from "{schema}".streams
 where stream_uuid = any ($1::text[])
