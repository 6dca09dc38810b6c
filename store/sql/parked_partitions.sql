-- Counts the parked rows of each partition, and says whether later events of it are held. $1 subscription_id, $2 unit.
select partition_key, count(*), bool_or(holds or state = 'held')
  from "{schema}".runtime_parked_events
 where subscription_id = $1::bigint and unit = $2::int and partition_key is not null
 group by partition_key
