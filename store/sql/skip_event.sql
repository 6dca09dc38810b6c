-- Notes that an event is to be skipped when it comes, or comes again. $1 subscription_id, $2 event_number.
insert into "{schema}".runtime_attempts (subscription_id, event_number, attempts, skip, reason)
values ($1::bigint, $2::bigint, 1, true, 'an operator skipped it')
on conflict (subscription_id, unit, event_number)
do update set skip = true, reason = excluded.reason, updated_at = now()
