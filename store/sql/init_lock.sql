-- Waits for the right to create or change a schema, until the transaction ends. $1 schema.
select pg_advisory_xact_lock(hashtextextended('eventstore-runtime init ' || $1::text, 0))
