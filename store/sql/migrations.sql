-- Lists the schema versions that a schema has been through, oldest first. No binds.
select major_version, minor_version, patch_version, migrated_at
  from "{schema}".schema_migrations
 order by major_version, minor_version, patch_version
