-- Notes that owners have ended in order: everything begun is finished. $1 subscription_ids, $2 epochs, each of unit 0.
update "{schema}".runtime_owners o
   set released = true
  from unnest($1::bigint[], $2::bigint[]) as r (subscription_id, epoch)
 where o.subscription_id = r.subscription_id and o.unit = 0 and o.epoch = r.epoch
