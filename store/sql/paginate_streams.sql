-- Lists one page of streams, and how many there are on all pages; without entries one row of nulls carries the number.
-- $1 LIKE pattern or null for all, $2 the column to sort by, $3 descending or not, $4 rows to skip, $5 rows to give.
-- Columns: the number, then those of stream_info. Names sort by code point, the same in every database; nulls last.
with matching as (
  select stream_uuid, stream_id, stream_version, created_at, deleted_at,
         case $2::text
           when 'stream_version' then stream_version
           when 'created_at' then (extract(epoch from created_at) * 1000000)::bigint
           when 'deleted_at' then (extract(epoch from deleted_at) * 1000000)::bigint
           when 'stream_id' then stream_id
         end as number
    from "{schema}".streams
   where $1::text is null or stream_uuid like $1
),
placed as (
  select matching.*,
         row_number() over (
           order by case when $2 = 'stream_uuid' and not $3::boolean then stream_uuid collate "C" end,
                    case when $2 = 'stream_uuid' and $3 then stream_uuid collate "C" end desc nulls last,
                    case when $3 then -number else number end nulls last,
                    case when $3 then -stream_id else stream_id end
         ) as place
    from matching
)
select total.entries, p.stream_uuid, p.stream_id, p.stream_version, p.created_at, p.deleted_at
  from (select count(*) as entries from matching) total
  left join placed p on p.place > $4::bigint and p.place <= $4 + $5::bigint
 order by p.place
