-- Sets, for the rest of the transaction, whether the triggers let rows be deleted. $1 'on' or 'off'.
select set_config('eventstore.enable_hard_deletes', $1::text, true)
