-- Reads parked events that are to be handled or discarded now, in order: the event in wire form as page_all, the state,
-- and the partition key. $1 subscription_id, $2 unit, $3 limit. Held ones are due where nobody in front of them waits for
-- an operator; one that was deleted for good, with all columns of the event null but its number, is to be discarded.
select p.event_number, s.stream_uuid, o.original_stream_version, e.event_type,
       uuid_send(e.event_id), uuid_send(e.correlation_id), uuid_send(e.causation_id),
       {data}, {metadata}, (extract(epoch from e.created_at) * 1000000)::bigint,
       case when e.event_id is null then 'discard' else p.state end, p.partition_key
  from (
    select event_number, event_id, state, partition_key
      from "{schema}".runtime_parked_events d
     where subscription_id = $1::bigint and unit = $2::int
       and (state in ('retry', 'discard') or (state = 'held' and not exists (
             select from "{schema}".runtime_parked_events f
              where f.subscription_id = d.subscription_id and f.unit = d.unit and f.partition_key = d.partition_key
                and f.event_number < d.event_number and f.state = 'parked')))
     order by event_number
     limit $3::bigint
  ) p
  left join "{schema}".events e on e.event_id = p.event_id
  left join lateral (
    select original_stream_id, original_stream_version from "{schema}".stream_events
     where event_id = p.event_id limit 1
  ) o on true
  left join "{schema}".streams s on s.stream_id = o.original_stream_id
 order by p.event_number
