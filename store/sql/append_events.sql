-- Appends events to one stream and to $all in one round trip; no row back means that the expected version did not match.
-- $1 stream_uuid, $2 expected version (n exact, -1 any, -2 the stream exists), $3 event_ids, $4 event_types,
-- $5 causation_ids, $6 correlation_ids, $7 data, $8 metadata, $9 created_at or null for now.
-- Returns the stream's and $all's version before the append.
with moved as (
  update "{schema}".streams
     set stream_version = stream_version + cardinality($3::uuid[])
   where stream_uuid = $1::text and deleted_at is null and ($2::bigint < 0 or stream_version = $2)
  returning stream_id, stream_version - cardinality($3::uuid[]) as before
),
created as (
  insert into "{schema}".streams (stream_uuid, stream_version)
  select $1, cardinality($3::uuid[])
   where $2 in (-1, 0) and not exists (select from moved)
  on conflict (stream_uuid) do nothing
  returning stream_id, 0::bigint as before
),
target as (
  select stream_id, before from moved union all select stream_id, before from created
),
recorded as (
  insert into "{schema}".events (event_id, event_type, causation_id, correlation_id, data, metadata, created_at)
  select n.event_id, n.event_type, n.causation_id, n.correlation_id, {new_data}, {new_metadata},
         coalesce($9::timestamptz, now())
    from target, unnest($3::uuid[], $4::text[], $5::uuid[], $6::uuid[], $7::bytea[], $8::bytea[])
           as n (event_id, event_type, causation_id, correlation_id, data, metadata)
  returning 1
),
own as (
  insert into "{schema}".stream_events
         (event_id, stream_id, stream_version, original_stream_id, original_stream_version)
  select n.event_id, target.stream_id, target.before + n.place, target.stream_id, target.before + n.place
    from target, unnest($3::uuid[]) with ordinality as n (event_id, place)
  returning event_id, stream_id, stream_version
),
-- Joined with what was inserted, so that the lock every append needs is taken after all work that can come before it.
head as (
  update "{schema}".streams
     set stream_version = streams.stream_version + own_rows.n
    from (select count(*) as n from own) own_rows, (select count(*) as n from recorded) recorded_rows
   where streams.stream_id = 0 and own_rows.n > 0 and recorded_rows.n = own_rows.n
  returning streams.stream_version - own_rows.n as before
),
linked as (
  insert into "{schema}".stream_events
         (event_id, stream_id, stream_version, original_stream_id, original_stream_version)
  select own.event_id, 0, head.before + own.stream_version - target.before, own.stream_id, own.stream_version
    from own, head, target
)
select target.before, head.before from target, head
