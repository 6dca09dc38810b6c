-- Reads a page like page_filtered, up to a number of bytes of data and metadata: the first event always, then what
-- fits. Where it stopped for that, a row follows whose data and metadata are null. $1 stream_uuid or $all, $2 position
-- to read after, $3 most positions to look at, $4 limit, $5 most bytes, $6 event types, $7 category, $8 prefix of the
-- stream's name, $9 JSON documents that data contains; a null passes every event. The inner sum is of sizes known
-- without reading the values, so that what is far too much is never read; the outer one is of the values as they are
-- sent. No event counts for more than the bound, so that the row after a single one beyond it is still there to tell.
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
select stream_version, stream_uuid, original_stream_version, event_type,
       uuid_send(event_id), uuid_send(correlation_id), uuid_send(causation_id),
       case when before = 0 or before + sent <= $5::bigint then data end,
       case when before = 0 or before + sent <= $5::bigint then metadata end,
       created_at
  from (
    select read.*,
           coalesce(sum(least(sent, $5::bigint)) over (
             order by stream_version rows between unbounded preceding and 1 preceding
           ), 0) as before
      from (
        select e.stream_version, e.stream_uuid, e.original_stream_version, e.event_type, e.event_id, e.correlation_id,
               e.causation_id, (extract(epoch from e.created_at) * 1000000)::bigint as created_at, v.data, v.metadata,
               octet_length(v.data) + coalesce(octet_length(v.metadata), 0) as sent
          from (
            select se.stream_version, s.stream_uuid, se.original_stream_version, e.*, {stored} as stored,
                   coalesce(sum(least({stored}, $5::bigint)) over (
                     order by se.stream_version rows between unbounded preceding and 1 preceding
                   ), 0) as stored_before
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
          ) e
          left join lateral (
            select {data} as data, {metadata} as metadata
             where e.stored_before = 0 or e.stored_before + e.stored <= $5::bigint
            offset 0
          ) v on true
         where e.stored_before <= $5::bigint
      ) read
  ) e
 where before <= $5::bigint
 order by stream_version
)
