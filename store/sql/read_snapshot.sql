-- Reads the snapshot of a source. $1 source_uuid. Columns: source_uuid, source_version, source_type, data and metadata
-- as bytes, created_at in microseconds since 1970-01-01 UTC.
select e.source_uuid, e.source_version, e.source_type, {data}, {metadata},
       (extract(epoch from e.created_at) * 1000000)::bigint
  from "{schema}".snapshots e
 where e.source_uuid = $1::text
