-- Ends the epoch of a subscription's owner, if there is one: nothing it still does counts, and it begins anew from what
-- the database says. Waits for a transaction of its that is being committed. $1 subscription_id.
update "{schema}".runtime_owners
   set epoch = epoch + 1, released = true
 where subscription_id = $1::bigint
