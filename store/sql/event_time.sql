-- Finds the first event of a stream at or above a version, and when it was created. $1 stream_uuid, $2 version.
select se.stream_version, e.created_at
  from "{schema}".stream_events se
  join "{schema}".events e on e.event_id = se.event_id
 where se.stream_id = (select stream_id from "{schema}".streams where stream_uuid = $1::text)
   and se.stream_version >= $2::bigint
 order by se.stream_version
 limit 1
