-- revoke_api_key: revokes an API key, once: the first time stays.
-- No row when the key is unknown.
-- $1 key_id, $2 now
with
revoked as (
  update api_keys k
  set revoked_at = $2
  where k.id = $1 and k.revoked_at is null
  returning k.id, k.revoked_at
)
select
  k.id,
  k.merchant_id,
  k.created_at,
  coalesce(revoked.revoked_at, k.revoked_at) as revoked_at
from api_keys k
left join revoked on revoked.id = k.id
where k.id = $1
