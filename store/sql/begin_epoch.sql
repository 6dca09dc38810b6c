-- Begins a new owner's epoch, which fences every earlier owner. $1 subscription_id, $2 unit, $3 node.
-- Returns the epoch and last_seen. The share lock makes last_seen the newest value even when this statement had to wait
-- for the old owner's checkpoint: an older one would deliver events whose ledger rows that checkpoint removed.
with owner as (
  insert into "{schema}".runtime_owners as o (subscription_id, unit, epoch, node)
  select subscription_id, $2::int, 1, $3::text from "{schema}".subscriptions where subscription_id = $1::bigint
  on conflict (subscription_id, unit)
  do update set epoch = o.epoch + 1, node = excluded.node, owned_since = now()
  returning o.subscription_id, o.epoch
)
select owner.epoch, s.last_seen
  from owner join "{schema}".subscriptions s on s.subscription_id = owner.subscription_id
   for share of s
