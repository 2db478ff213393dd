-- list_ledger_entries: a merchant's ledger entries, newest first. Ask for one more than the page to know whether there is
-- more. The cursor is compared as in list_payments.
-- No row when there is none.
-- $1 merchant_id, $2 before_id (null: from the newest), $3 account (null: any), $4 limit
select
  e.id,
  e.operation_id,
  o.payment_id,
  e.account,
  e.currency,
  e.amount,
  e.created_at
from ledger_entries e
cross join lateral (
  select o.payment_id
  from operations o
  where o.merchant_id = e.merchant_id and o.id = e.operation_id
  offset 0 -- by the whole key
) o
where e.merchant_id = $1
  and e.id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
  and ($3::text is null or e.account = $3)
order by e.id desc
limit $4
