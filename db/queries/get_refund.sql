-- get_refund: one refund of a merchant: an operation of this kind. While it is pending without an amount of its own, it is
-- for all that remains, which nothing can change meanwhile.
-- No row when the merchant has none with this id.
-- $1 merchant_id, $2 refund_id
select
  o.id,
  o.payment_id,
  coalesce(o.amount, o.requested_amount, p.captured - p.refunded) as amount,
  p.currency,
  o.state,
  o.reason,
  o.failure_reason,
  o.created_at,
  coalesce(o.finished_at, o.created_at) as updated_at
from operations o
cross join lateral (
  select p.captured, p.refunded, p.currency
  from payments p
  where p.merchant_id = o.merchant_id and p.id = o.payment_id
  offset 0 -- by the whole key
) p
where o.merchant_id = $1 and o.id = $2 and o.kind = 'refund'
