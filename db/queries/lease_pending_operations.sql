-- lease_pending_operations: gives the recovery up to $3 pending operations whose lease has ended, with all it needs to
-- ask the acquirer again and to record. Raises each lease token, so that whoever held the lease before can't record.
-- No row when nothing is due.
-- $1 now, $2 leased_until, $3 limit
with
due as (
  select merchant_id, id
  from operations
  where finished_at is null and leased_until <= $1
  order by leased_until
  limit $3
  for update skip locked
),
leased as (
  update operations o
  set lease_token = o.lease_token + 1, leased_until = $2
  from due
  where o.merchant_id = due.merchant_id and o.id = due.id
  returning o.merchant_id, o.id, o.payment_id, o.kind, o.requested_amount, o.final, o.reason, o.risk_blocked,
    o.lease_token, o.traceparent, o.created_at
)
select
  l.merchant_id,
  l.id as operation_id,
  l.kind,
  l.requested_amount,
  l.final,
  l.reason,
  l.risk_blocked,
  l.lease_token,
  l.traceparent,
  l.created_at as operation_created_at,
  p.id as payment_id,
  p.payment_token_id,
  p.amount,
  p.currency,
  p.capture_method,
  p.merchant_reference,
  p.description,
  p.metadata,
  p.state,
  p.authorized,
  p.captured,
  p.refunded,
  p.version,
  p.expires_at,
  p.created_at,
  t.network_token,
  m.fee_bps,
  m.fee_fixed
from leased l
cross join lateral (
  select *
  from payments p
  where p.merchant_id = l.merchant_id and p.id = l.payment_id
  offset 0 -- by the whole key
) p
cross join lateral (
  select t.network_token
  from payment_tokens t
  where t.merchant_id = p.merchant_id and t.id = p.payment_token_id
  offset 0 -- by the whole key
) t
join merchants m on m.id = l.merchant_id
