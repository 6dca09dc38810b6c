-- Reads those events of a page that pass a filter. Columns as in page_all, after one row that has no event_type: there
-- event_number is the last position looked at, null for none, and stream_version how many were looked at. $1
-- stream_uuid or $all, $2 position to read after, $3 most positions to look at, $4 limit, $5 most bytes of one event as
-- in page_all, $6 event types, $7 category, $8 prefix of the stream's name, $9 JSON documents that data contains; a
-- null passes every event. JSON is read last, and only of events that pass the rest.
select max(looked_at.stream_version), null::text, count(*), null::text, null::bytea, null::bytea, null::bytea,
       null::bytea, null::bytea, null::bigint
  from (
    select stream_version
      from "{schema}".stream_events
     where stream_id = (select stream_id from "{schema}".streams where stream_uuid = $1::text)
       and stream_version > $2::bigint
     order by stream_version
     limit $3::bigint
  ) looked_at
union all
(
select se.stream_version, s.stream_uuid, se.original_stream_version, e.event_type,
       uuid_send(e.event_id), uuid_send(e.correlation_id), uuid_send(e.causation_id),
       case when {stored} <= $5::bigint and {exact} <= $5::bigint then {data} end,
       case when {stored} <= $5::bigint and {exact} <= $5::bigint then {metadata} end,
       (extract(epoch from e.created_at) * 1000000)::bigint
  from (
    select event_id, stream_version, original_stream_id, original_stream_version
      from "{schema}".stream_events
     where stream_id = (select stream_id from "{schema}".streams where stream_uuid = $1::text)
       and stream_version > $2::bigint
     order by stream_version
     limit $3::bigint
  ) se
 cross join lateral (
   select stream_uuid
     from "{schema}".streams
    where stream_id = se.original_stream_id
      and ($7::text is null or split_part(stream_uuid, '-', 1) = $7::text)
      and ($8::text is null or starts_with(stream_uuid, $8::text))
   offset 0
 ) s
 cross join lateral (
   select *
     from "{schema}".events
    where event_id = se.event_id
      and ($6::text[] is null or event_type = any ($6::text[]))
   offset 0
 ) e
 where $9::text[] is null
    or {as_json} @> all ((select $9::text[]::jsonb[])::jsonb[])
 order by se.stream_version
 limit $4::bigint
)
