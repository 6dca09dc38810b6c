-- Reads the events of a stream or of $all, from $2 down, newest first; a soft-deleted or unknown stream gives no row.
-- $1 stream_uuid, $2 first version to read, $3 limit. Columns as in page_all.
select se.stream_version, s.stream_uuid, se.original_stream_version, e.event_type,
       uuid_send(e.event_id), uuid_send(e.correlation_id), uuid_send(e.causation_id),
       {data}, {metadata}, (extract(epoch from e.created_at) * 1000000)::bigint
  from (
    select event_id, stream_version, original_stream_id, original_stream_version
      from "{schema}".stream_events
     where stream_id = (select stream_id from "{schema}".streams where stream_uuid = $1::text and deleted_at is null)
       and stream_version <= $2::bigint
     order by stream_version desc
     limit $3::bigint
  ) se
 cross join lateral (select * from "{schema}".events where event_id = se.event_id offset 0) e
 cross join lateral (
   select stream_uuid from "{schema}".streams where stream_id = se.original_stream_id offset 0
 ) s
 order by se.stream_version desc
