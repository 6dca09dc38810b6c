-- Begins a new owner's epoch, which fences every earlier owner. $1 subscription_id, $2 unit, $3 node, $4 run of the node.
-- Returns the epoch, last_seen, how many owners in a row ended without order and without progress (none for the same run
-- of a node), and whether the last one ended in order. The share lock makes last_seen the newest value even when this
-- statement had to wait for the old owner's checkpoint: an older one would deliver events whose ledger rows that
-- checkpoint removed.
with before as (
  select released, released or (run = $4::text and run <> '') as is_clean, began_at, unclean
    from "{schema}".runtime_owners where subscription_id = $1::bigint and unit = $2::int for update
),
terms as (
  insert into "{schema}".runtime_subscriptions (subscription_id)
  select subscription_id from "{schema}".subscriptions where subscription_id = $1
  on conflict do nothing
),
owner as (
  insert into "{schema}".runtime_owners as o (subscription_id, unit, epoch, node, released, run, began_at, unclean)
  select s.subscription_id, $2, 1, $3::text, false, $4, coalesce(s.last_seen, 0),
         case when coalesce(before.is_clean, true) then 0
              -- A parked event that is tried again is behind every progress.
              when before.began_at = coalesce(s.last_seen, 0)
                or exists (select from "{schema}".runtime_parked_events p
                            where p.subscription_id = $1 and p.unit = $2 and p.state = 'retry') then before.unclean + 1
              else 1 end
    from "{schema}".subscriptions s left join before on true
   where s.subscription_id = $1
  on conflict (subscription_id, unit)
  do update set epoch = o.epoch + 1, node = excluded.node, owned_since = now(), released = false, run = excluded.run,
                began_at = excluded.began_at, unclean = excluded.unclean
  returning o.subscription_id, o.epoch, o.unclean
)
select owner.epoch, s.last_seen, owner.unclean, coalesce((select released from before), true)
  from owner join "{schema}".subscriptions s on s.subscription_id = owner.subscription_id
   for share of s
