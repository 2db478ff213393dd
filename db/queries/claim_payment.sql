-- claim_payment: takes the idempotency key and creates the payment with its pending operation, checks risk, and emits
-- payment.created. The first step of CreatePayment.
-- Always one row. outcome, in the order of checks:
--   replay       the key is finished, same request: reply_status and reply_body
--   key_reused   the key belongs to another request
--   in_progress  the key is taken, its operation still pending
--   not_found    no such payment token; the key isn't taken
--   look_again   another request took the key while this one ran, and this snapshot can't see whose: run it again
--   claimed      all other columns hold; risk_blocked: don't ask the acquirer, record the decline
-- Raises payments_merchant_reference_key where the reference is taken; nothing is written then, the key isn't taken.
-- $1 merchant_id, $2 key, $3 request_hash, $4 payment_id, $5 operation_id, $6 kind (authorize, sale),
-- $7 payment_token_id, $8 amount, $9 currency, $10 capture_method, $11 merchant_reference, $12 description,
-- $13 metadata, $14 expires_at, $15 now, $16 leased_until, $17 event_id, $18 event_data, $19 traceparent
with
seen as (
  select k.request_hash = $3 as same, r.status, r.body
  from idempotency_keys k
  left join idempotency_replies r on r.operation_id = k.operation_id
  where k.merchant_id = $1 and k.key = $2
),
token as (
  select t.card_fingerprint, t.network_token, m.amount_limit, m.velocity_limit, m.fee_bps, m.fee_fixed
  from payment_tokens t
  join merchants m on m.id = t.merchant_id
  where t.merchant_id = $1 and t.id = $7
),
claimed as (
  insert into idempotency_keys (merchant_id, key, request_hash, operation_id, created_at)
  select $1, $2, $3, $5, $15
  from token
  where not exists (select from seen)
  on conflict on constraint idempotency_keys_pkey do nothing
  returning operation_id
),
velocity as (
  insert into card_activity as a (merchant_id, card_fingerprint, admitted_at, last_operation_id)
  select $1, token.card_fingerprint, array[$15::timestamptz], $5
  from claimed
  cross join token
  where token.velocity_limit is not null and $8 <= token.amount_limit
  on conflict on constraint card_activity_pkey do update set (admitted_at, last_operation_id) = (
    select
      case when cardinality(recent) < (select velocity_limit from token) then recent || $15 else recent end,
      case when cardinality(recent) < (select velocity_limit from token) then $5 else a.last_operation_id end
    from (select array(select t from unnest(a.admitted_at) t where t > $15 - interval '60 seconds')) as r (recent)
  )
  returning last_operation_id = $5 as admitted
),
risk as (
  select $8 > token.amount_limit or not coalesce(velocity.admitted, true) as blocked
  from claimed
  cross join token
  left join velocity on true
),
payment as (
  insert into payments (merchant_id, id, payment_token_id, amount, currency, capture_method, merchant_reference,
    description, metadata, state, pending_operation_id, expires_at, created_at, updated_at)
  select $1, $4, $7, $8, $9, $10, $11, $12, $13, 'processing', $5, $14, $15, $15
  from risk
  returning id
),
operation as (
  insert into operations (merchant_id, id, payment_id, kind, state, requested_amount, risk_blocked, leased_until,
    traceparent, created_at)
  select $1, $5, payment.id, $6, 'pending', $8, risk.blocked, $16, $19, $15
  from payment
  cross join risk
  returning risk_blocked
),
emitted as (
  insert into outbox (merchant_id, id, operation_id, type, data, traceparent, created_at)
  select $1, $17, $5, 'payment.created', $18, $19, $15
  from operation
)
select
  case
    when operation.risk_blocked is not null then 'claimed'
    when seen.same and seen.status is not null then 'replay'
    when seen.same then 'in_progress'
    when not seen.same then 'key_reused'
    when token.network_token is null then 'not_found'
    else 'look_again'
  end as outcome,
  case when seen.same then seen.status end as reply_status,
  case when seen.same then seen.body end as reply_body,
  operation.risk_blocked,
  token.network_token,
  token.fee_bps,
  token.fee_fixed
from (select) as always
left join seen on true
left join token on true
left join operation on true
