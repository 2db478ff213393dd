-- claim_operation: takes the idempotency key, locks the payment (pending_operation_id) and inserts the pending
-- operation, if the payment is in one of the states given. The first step of a capture, void or refund. The domain gives
-- the states, and decides amounts from the row returned here, which nothing else can change until record_operation or
-- reject_operation.
-- Always one row. outcome, in the order of checks (only claimed has written anything):
--   replay         the key is finished, same request: reply_status and reply_body
--   key_reused     the key belongs to another request
--   in_progress    the key is taken, its operation still pending
--   not_found      no such payment
--   busy           another operation of the payment is pending
--   state_invalid  state isn't one of those given
--   look_again     the key or the payment was taken while this ran, and this snapshot can't see by whom: run it again
--   claimed        the payment's columns hold
-- $1 merchant_id, $2 key, $3 request_hash, $4 payment_id, $5 operation_id, $6 kind (capture, void, refund),
-- $7 requested_amount, $8 final, $9 now, $10 leased_until, $11 traceparent, $12 from_states, $13 reason
with
seen as (
  select k.request_hash = $3 as same, r.status, r.body
  from idempotency_keys k
  left join idempotency_replies r on r.operation_id = k.operation_id
  where k.merchant_id = $1 and k.key = $2
),
found as (
  select p.state, p.pending_operation_id is not null as busy, p.state = any($12::text[]) as allowed
  from payments p
  where p.merchant_id = $1 and p.id = $4
),
locked as (
  select p.id
  from payments p
  where p.merchant_id = $1 and p.id = $4 and p.pending_operation_id is null and p.state = any($12::text[])
    and not exists (select from seen)
  for no key update
),
claimed as (
  insert into idempotency_keys (merchant_id, key, request_hash, operation_id, created_at)
  select $1, $2, $3, $5, $9
  from locked
  on conflict on constraint idempotency_keys_pkey do nothing
  returning operation_id
),
held as (
  update payments p
  set pending_operation_id = claimed.operation_id
  from claimed
  where p.merchant_id = $1 and p.id = $4
  returning p.payment_token_id, p.amount, p.currency, p.capture_method, p.merchant_reference, p.description,
    p.metadata, p.state, p.authorized, p.captured, p.refunded, p.version, p.expires_at, p.created_at
),
operation as (
  insert into operations (merchant_id, id, payment_id, kind, state, requested_amount, final, reason, leased_until,
    traceparent, created_at)
  select $1, $5, $4, $6, 'pending', $7, $8, $13, $10, $11, $9
  from held
)
select
  case
    when held.state is not null then 'claimed'
    when seen.same and seen.status is not null then 'replay'
    when seen.same then 'in_progress'
    when not seen.same then 'key_reused'
    when found.busy is null then 'not_found'
    when found.busy then 'busy'
    when not found.allowed then 'state_invalid'
    else 'look_again'
  end as outcome,
  case when seen.same then seen.status end as reply_status,
  case when seen.same then seen.body end as reply_body,
  held.payment_token_id,
  held.amount,
  held.currency,
  held.capture_method,
  held.merchant_reference,
  held.description,
  held.metadata,
  coalesce(held.state, found.state) as state,
  held.authorized,
  held.captured,
  held.refunded,
  held.version,
  held.expires_at,
  held.created_at,
  (
    select t.network_token
    from payment_tokens t
    where t.merchant_id = $1 and t.id = held.payment_token_id
  ) as network_token,
  m.fee_bps,
  m.fee_fixed
from (select) as always
left join seen on true
left join found on true
left join held on true
left join merchants m on m.id = $1
