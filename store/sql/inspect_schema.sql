-- Looks at what a schema holds. $1 schema. Returns: does the schema exist, its tables, the type of events.data.
select exists (select from pg_namespace where nspname = $1::text),
       coalesce((select array_agg(c.relname::text) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                  where n.nspname = $1 and c.relkind in ('r', 'p')), '{}'),
       (select format_type(a.atttypid, a.atttypmod) from pg_attribute a
          join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = $1 and c.relname = 'events' and a.attname = 'data' and not a.attisdropped)
