-- Records the snapshot of a source over the one it had. $1 source_uuid, $2 source_version, $3 source_type, $4 data,
-- $5 metadata. created_at is refreshed, which commanded/eventstore leaves at the time of the first one.
insert into "{schema}".snapshots (source_uuid, source_version, source_type, data, metadata)
select $1::text, $2::bigint, $3::text, {new_data}, {new_metadata}
  from (values ($4::bytea, $5::bytea)) as n (data, metadata)
on conflict (source_uuid) do update
   set source_version = excluded.source_version, source_type = excluded.source_type, data = excluded.data,
       metadata = excluded.metadata, created_at = excluded.created_at
