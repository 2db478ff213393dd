-- insert_merchant: creates a merchant and, where a key is given, takes the key and stores the reply. The only step of
-- CreateMerchant.
-- Always one row. outcome: replay (reply_status, reply_body), key_reused, look_again (another request took the key while
-- this one ran: run it again), created.
-- $1 scope of the key (the nil merchant), $2 key (null: none), $3 request_hash, $4 merchant_id, $5 name, $6 fee_bps,
-- $7 fee_fixed, $8 amount_limit, $9 velocity_limit, $10 now, $11 reply_status, $12 reply_body
with
seen as (
  select k.request_hash = $3 as same, r.status, r.body
  from idempotency_keys k
  left join idempotency_replies r on r.operation_id = k.operation_id
  where k.merchant_id = $1 and k.key = $2
),
claimed as (
  insert into idempotency_keys (merchant_id, key, request_hash, operation_id, created_at)
  select $1, $2, $3, $4, $10
  where $2::text is not null and not exists (select from seen)
  on conflict on constraint idempotency_keys_pkey do nothing
  returning operation_id
),
created as (
  insert into merchants (id, name, fee_bps, fee_fixed, amount_limit, velocity_limit, created_at)
  select $4, $5, $6, $7, $8, $9, $10
  where $2::text is null or exists (select from claimed)
  returning id
),
replied as (
  insert into idempotency_replies (operation_id, status, body)
  select claimed.operation_id, $11, $12
  from claimed
)
select
  case
    when created.id is not null then 'created'
    when seen.same then 'replay'
    when not seen.same then 'key_reused'
    else 'look_again'
  end as outcome,
  case when seen.same then seen.status end as reply_status,
  case when seen.same then seen.body end as reply_body
from (select) as always
left join seen on true
left join created on true
