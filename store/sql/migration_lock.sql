-- Waits for the right to migrate, until the transaction ends; the lock that commanded/eventstore's own migrations take.
-- No binds.
select pg_advisory_xact_lock(format('%I.subscriptions', '{schema_literal}')::regclass::oid::int, -1)
