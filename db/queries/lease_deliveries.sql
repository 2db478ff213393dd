-- lease_deliveries: gives the webhook worker up to $3 deliveries that are due, with the event and the endpoint; none to an
-- endpoint of $4, which has as many under way as one may have.
-- No row when nothing is due.
-- $1 now, $2 leased_until, $3 limit, $4 busy endpoint_ids
with
due as (
  select endpoint_id, id
  from webhook_deliveries
  where state = 'pending' and next_attempt_at <= $1 and endpoint_id <> all ($4::uuid[])
  order by next_attempt_at
  limit $3
  for update skip locked
),
leased as (
  update webhook_deliveries d
  set lease_token = d.lease_token + 1, next_attempt_at = $2
  from due
  where d.endpoint_id = due.endpoint_id and d.id = due.id
  returning d.merchant_id, d.endpoint_id, d.id, d.event_sequence, d.attempts, d.lease_token
)
select
  l.merchant_id,
  l.endpoint_id,
  l.id as delivery_id,
  l.attempts,
  l.lease_token,
  w.url,
  w.disabled_at,
  e.id as event_id,
  e.sequence,
  e.type,
  e.data,
  e.traceparent,
  e.created_at
from leased l
join webhook_endpoints w on w.merchant_id = l.merchant_id and w.id = l.endpoint_id
cross join lateral (
  select e.id, e.sequence, e.type, e.data, e.traceparent, e.created_at
  from events e
  where e.merchant_id = l.merchant_id and e.sequence = l.event_sequence
  offset 0 -- by the whole key
) e
