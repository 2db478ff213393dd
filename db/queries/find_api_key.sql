-- find_api_key: what a credential is checked against.
-- No row when the key is unknown.
-- $1 key_id
select k.merchant_id, k.secret_sha256, k.revoked_at
from api_keys k
where k.id = $1
