-- Links stored events into a stream in one round trip; $all stays as it is. No row back: the expected version did not
-- match, or an event is not stored. $1 stream_uuid, $2 expected version (n exact, -1 any, -2 the stream exists),
-- $3 event_ids. Returns the stream's version before the link, and $all's.
with source as (
  select w.event_id, w.place, o.original_stream_id, o.original_stream_version
    from unnest($3::uuid[]) with ordinality as w (event_id, place)
   cross join lateral (
     select se.original_stream_id, se.original_stream_version from "{schema}".stream_events se
      where se.event_id = w.event_id and se.stream_id = se.original_stream_id offset 0
   ) o
),
complete as (
  select count(*) = cardinality($3::uuid[]) as is_complete from source
),
moved as (
  update "{schema}".streams
     set stream_version = streams.stream_version + cardinality($3::uuid[])
    from complete
   where streams.stream_uuid = $1::text and streams.deleted_at is null and complete.is_complete
     and ($2::bigint < 0 or streams.stream_version = $2)
  returning streams.stream_id, streams.stream_version - cardinality($3::uuid[]) as before
),
created as (
  insert into "{schema}".streams (stream_uuid, stream_version)
  select $1, cardinality($3::uuid[])
    from complete
   where complete.is_complete and $2 in (-1, 0) and not exists (select from moved)
  on conflict (stream_uuid) do nothing
  returning stream_id, 0::bigint as before
),
target as (
  select stream_id, before from moved union all select stream_id, before from created
),
linked as (
  insert into "{schema}".stream_events
         (event_id, stream_id, stream_version, original_stream_id, original_stream_version)
  select source.event_id, target.stream_id, target.before + source.place,
         source.original_stream_id, source.original_stream_version
    from target, source
)
select target.before, head.stream_version
  from target, "{schema}".streams head
 where head.stream_id = 0
