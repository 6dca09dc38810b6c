-- Reads a page of $all in wire form, for routing without decoding. $1 position to read after, $2 limit, $3 most bytes
-- of data and metadata of one event: both are null of an event that has more, or may have, and page_bounded reads it.
-- Columns: event_number, stream_uuid and stream_version of the original stream, event_type, event_id, correlation_id
-- and causation_id as 16 bytes, data and metadata as bytes, created_at in microseconds since 1970-01-01 UTC. The inner
-- limit and the fenced lookups keep a page at index speed whatever the planner knows about the tables.
select se.stream_version, s.stream_uuid, se.original_stream_version, e.event_type,
       uuid_send(e.event_id), uuid_send(e.correlation_id), uuid_send(e.causation_id),
       case when {stored} <= $3::bigint and {exact} <= $3::bigint then {data} end,
       case when {stored} <= $3::bigint and {exact} <= $3::bigint then {metadata} end,
       (extract(epoch from e.created_at) * 1000000)::bigint
  from (
    select event_id, stream_version, original_stream_id, original_stream_version
      from "{schema}".stream_events
     where stream_id = 0
       and stream_version > $1::bigint
     order by stream_version
     limit $2::bigint
  ) se
 cross join lateral (select * from "{schema}".events where event_id = se.event_id offset 0) e
 cross join lateral (
   select stream_uuid from "{schema}".streams where stream_id = se.original_stream_id offset 0
 ) s
 order by se.stream_version
