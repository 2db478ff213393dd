-- list_refunds: a merchant's refunds, newest first. Ask for one more than the page to know whether there is more. The
-- amount of a pending one is as in get_refund; the cursor is compared as in list_payments.
-- No row when there is none.
-- $1 merchant_id, $2 before_id (null: from the newest), $3 payment_id (null: any), $4 limit
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
where o.merchant_id = $1
  and o.kind = 'refund'
  and o.id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
  and ($3::uuid is null or o.payment_id = $3)
order by o.id desc
limit $4
