-- Releases the advisory locks of many subscriptions; false where this session held none. $1 subscription_ids.
select id,
       pg_advisory_unlock(
         format('%I.subscriptions', '{schema_literal}')::regclass::oid::int,
         (case when id > 2147483647 then mod(id, 2147483647) else id end)::int
       )
  from unnest($1::bigint[]) as held (id)
