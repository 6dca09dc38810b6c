-- Reads a page of one stream in wire form, for routing without decoding; columns as in page_all.
-- $1 stream_uuid, $2 version to read after, $3 limit, $4 most bytes of one event, as in page_all. A soft-deleted stream
-- still gives its rows: position decides.
select se.stream_version, s.stream_uuid, se.original_stream_version, e.event_type,
       uuid_send(e.event_id), uuid_send(e.correlation_id), uuid_send(e.causation_id),
       case when {stored} <= $4::bigint and {exact} <= $4::bigint then {data} end,
       case when {stored} <= $4::bigint and {exact} <= $4::bigint then {metadata} end,
       (extract(epoch from e.created_at) * 1000000)::bigint
  from (
    select event_id, stream_version, original_stream_id, original_stream_version
      from "{schema}".stream_events
     where stream_id = (select stream_id from "{schema}".streams where stream_uuid = $1::text)
       and stream_version > $2::bigint
     order by stream_version
     limit $3::bigint
  ) se
 cross join lateral (select * from "{schema}".events where event_id = se.event_id offset 0) e
 cross join lateral (
   select stream_uuid from "{schema}".streams where stream_id = se.original_stream_id offset 0
 ) s
 order by se.stream_version
