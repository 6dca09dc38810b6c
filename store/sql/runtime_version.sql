-- Reads the newest version of the runtime's own tables; null when none was recorded. No binds.
select max(version) from "{schema}".runtime_migrations
