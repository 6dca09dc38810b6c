-- Deletes a subscription unless somebody owns it; its runtime rows go with it. $1 subscription_id.
-- The lock is the one that its owner holds, taken until this statement has committed: nobody becomes its owner meanwhile.
delete from "{schema}".subscriptions
 where subscription_id = $1::bigint
   and case when subscription_id = $1 then
         pg_try_advisory_xact_lock(
           format('%I.subscriptions', '{schema_literal}')::regclass::oid::int,
           (case when $1 > 2147483647 then mod($1, 2147483647) else $1 end)::int
         )
       end
returning subscription_id
