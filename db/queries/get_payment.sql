-- get_payment: one payment of a merchant.
-- No row when the merchant has none with this id.
-- $1 merchant_id, $2 payment_id
select
  p.id,
  p.payment_token_id,
  p.amount,
  p.currency,
  p.capture_method,
  p.merchant_reference,
  p.description,
  p.metadata,
  p.state,
  p.decline_reason,
  p.authorized,
  p.captured,
  p.refunded,
  p.expires_at,
  p.created_at,
  p.updated_at
from payments p
where p.merchant_id = $1 and p.id = $2
