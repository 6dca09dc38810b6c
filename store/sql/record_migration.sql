-- Records that a schema has reached a version. $1 major, $2 minor, $3 patch.
insert into "{schema}".schema_migrations (major_version, minor_version, patch_version)
values ($1::int, $2::int, $3::int)
on conflict do nothing
