-- Deletes the snapshot of a source, if there is one. $1 source_uuid.
delete from "{schema}".snapshots where source_uuid = $1::text
