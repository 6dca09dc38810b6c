-- Lists parked events, all or some, with what is known of them. $1 subscription_id, $2 event_numbers or null for all,
-- $3 partition_key or null for all, $4 highest event_number, $5 limit. event_type and stream_uuid are null where the
-- event was deleted for good.
select p.event_number, p.event_id, p.partition_key, p.state, p.attempts, p.crashes, p.reason, p.parked_at,
       e.event_type, s.stream_uuid
  from "{schema}".runtime_parked_events p
  left join "{schema}".events e on e.event_id = p.event_id
  left join lateral (
    select original_stream_id from "{schema}".stream_events where event_id = p.event_id limit 1
  ) o on true
  left join "{schema}".streams s on s.stream_id = o.original_stream_id
 where p.subscription_id = $1::bigint and ($2::bigint[] is null or p.event_number = any ($2))
   and ($3::text is null or p.partition_key = $3) and p.event_number <= $4::bigint
 order by p.event_number
 limit $5::bigint
