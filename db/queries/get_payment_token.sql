-- get_payment_token: one payment token of a merchant, without what it stands for.
-- No row when the merchant has none with this id.
-- $1 merchant_id, $2 token_id
select
  t.id,
  t.brand,
  t.last4,
  t.exp_month,
  t.exp_year,
  t.created_at
from payment_tokens t
where t.merchant_id = $1 and t.id = $2
