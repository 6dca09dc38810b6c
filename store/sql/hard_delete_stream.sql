-- Removes a stream for good: its events from all streams they are linked into, its links to events of other streams
-- (those events stay), and its row. $1 stream_id. The transaction must hold the stream's lock and allow hard deletes.
-- A statement of its own after the lock, so that it sees all that was appended before the lock was granted.
with own as (
  select event_id from "{schema}".stream_events where stream_id = $1::bigint and original_stream_id = $1
),
unlinked as (
  delete from "{schema}".stream_events se using own where se.event_id = own.event_id
),
links as (
  delete from "{schema}".stream_events where stream_id = $1 and original_stream_id is distinct from $1
),
removed as (
  delete from "{schema}".events e using own where e.event_id = own.event_id
)
delete from "{schema}".streams where stream_id = $1
