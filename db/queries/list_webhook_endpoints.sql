-- list_webhook_endpoints: a merchant's endpoints, newest first. Ask for one more than the page to know whether there is
-- more. The cursor is compared as in list_payments.
-- No row when there is none.
-- $1 merchant_id, $2 before_id (null: from the newest), $3 limit
select
  w.id,
  w.url,
  w.created_at,
  w.disabled_at
from webhook_endpoints w
where w.merchant_id = $1
  and w.id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
order by w.id desc
limit $3
