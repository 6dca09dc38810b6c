-- Appends of several callers to several streams and to $all in one round trip, each stream for itself: one whose expected
-- version does not match, or whose race for a new stream was lost, is left out and gives no row. Binds as for append_many:
-- $1 stream_uuids (distinct, sorted), $2 expected versions (n exact, -1 any, -2 exists), $3 event counts; for each event,
-- in the order of $all: $4 stream_uuids, $5 event_ids, $6 event_types, $7 causation_ids, $8 correlation_ids, $9 data,
-- $10 metadata; $11 created_at or null for now. Returns stream_uuid, its version before, and $all's version before.
with wanted as (
  select w.stream_uuid, w.expected, w.events, w.place
    from unnest($1::text[], $2::bigint[], $3::bigint[]) with ordinality as w (stream_uuid, expected, events, place)
),
-- Locks in the order of append_many, so that the two never wait for each other in a circle.
existing as (
  select w.stream_uuid, w.events, s.stream_id, s.stream_version as before,
         s.deleted_at is null and (w.expected < 0 or s.stream_version = w.expected) as matches
    from wanted w
   cross join lateral (
     select stream_id, stream_version, deleted_at from "{schema}".streams
      where streams.stream_uuid = w.stream_uuid for update
   ) s
),
created as (
  insert into "{schema}".streams (stream_uuid, stream_version)
  select w.stream_uuid, w.events
    from wanted w
   where w.expected in (-1, 0) and not exists (select from existing e where e.stream_uuid = w.stream_uuid)
   order by w.place
  on conflict (stream_uuid) do nothing
  returning stream_id, stream_uuid
),
moved as (
  update "{schema}".streams
     set stream_version = existing.before + existing.events
    from existing
   where streams.stream_id = existing.stream_id and existing.matches
  returning streams.stream_id, streams.stream_uuid, existing.before
),
target as (
  select stream_id, stream_uuid, before from moved
  union all
  select stream_id, stream_uuid, 0::bigint from created
),
placed as (
  select n.*, target.stream_id,
         target.before + row_number() over (partition by n.stream_uuid order by n.place) as stream_version,
         row_number() over (order by n.place) as place_in_all
    from unnest($4::text[], $5::uuid[], $6::text[], $7::uuid[], $8::uuid[], $9::bytea[], $10::bytea[]) with ordinality
           as n (stream_uuid, event_id, event_type, causation_id, correlation_id, data, metadata, place)
    join target on target.stream_uuid = n.stream_uuid
),
recorded as (
  insert into "{schema}".events (event_id, event_type, causation_id, correlation_id, data, metadata, created_at)
  select n.event_id, n.event_type, n.causation_id, n.correlation_id, {new_data}, {new_metadata},
         coalesce($11::timestamptz, now())
    from placed n
  returning 1
),
own as (
  insert into "{schema}".stream_events
         (event_id, stream_id, stream_version, original_stream_id, original_stream_version)
  select n.event_id, n.stream_id, n.stream_version, n.stream_id, n.stream_version
    from placed n
  returning 1
),
-- Last, as in append_events: the lock on row 0 serialises all writers.
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
  select n.event_id, 0, head.before + n.place_in_all, n.stream_id, n.stream_version
    from head, placed n
)
select target.stream_uuid, target.before, head.before from target, head
