-- Tells which of the given event ids are stored already, as 16 bytes each. $1 event_ids.
select uuid_send(event_id)
  from "{schema}".events
 where event_id = any ($1::uuid[])
