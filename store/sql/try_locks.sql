-- Tries the advisory locks of many subscriptions, each once and without waiting. $1 subscription_ids (distinct).
-- The key is the one commanded/eventstore uses, so a node of either language excludes the other.
select id,
       pg_try_advisory_lock(
         format('%I.subscriptions', '{schema_literal}')::regclass::oid::int,
         (case when id > 2147483647 then mod(id, 2147483647) else id end)::int
       )
  from unnest($1::bigint[]) as wanted (id)
