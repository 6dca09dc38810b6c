-- Reads the newest version of the event store schema. No binds.
select major_version, minor_version, patch_version
  from "{schema}".schema_migrations
 order by major_version desc, minor_version desc, patch_version desc
 limit 1
