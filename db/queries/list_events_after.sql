-- list_events_after: what a stream tells next: a merchant's published events in order.
-- No row when there is none yet.
-- $1 merchant_id, $2 after_sequence, $3 limit
select
  e.id,
  e.type,
  e.sequence,
  e.created_at,
  e.data
from events e
where e.merchant_id = $1 and e.sequence > $2
order by e.sequence
limit $3
