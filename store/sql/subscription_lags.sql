-- Shows every subscription, one row for each unit: its place, its stream's head, its lag, and who owned it last. No binds.
-- is_locked tells whether any node, of either language, holds the subscription's advisory lock now.
select s.subscription_id, s.subscription_name, s.stream_uuid, s.last_seen,
       coalesce(h.stream_version, 0) as head,
       greatest(coalesce(h.stream_version, 0) - coalesce(s.last_seen, 0), 0) as lag,
       o.unit, o.node, o.epoch,
       exists (
         select from pg_locks l
          where l.locktype = 'advisory' and l.objsubid = 2 and l.granted
            and l.database = (select oid from pg_database where datname = current_database())
            and l.classid = format('%I.subscriptions', '{schema_literal}')::regclass::oid
            and l.objid = (case when s.subscription_id > 2147483647
                                then mod(s.subscription_id, 2147483647)
                                else s.subscription_id end)::oid
       ) as is_locked,
       coalesce(t.paused, false), t.halted_at, t.halted_reason,
       (select count(*) from "{schema}".runtime_parked_events p where p.subscription_id = s.subscription_id)
  from "{schema}".subscriptions s
  left join "{schema}".streams h on h.stream_uuid = s.stream_uuid
  left join "{schema}".runtime_owners o on o.subscription_id = s.subscription_id
  left join "{schema}".runtime_subscriptions t on t.subscription_id = s.subscription_id
 order by s.subscription_id, o.unit
