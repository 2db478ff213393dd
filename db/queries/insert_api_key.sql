-- insert_api_key: creates an API key. The only step of CreateApiKey.
-- One row when it was created; no row when there is no such merchant.
-- $1 key_id, $2 merchant_id, $3 secret_sha256, $4 now
insert into api_keys (id, merchant_id, secret_sha256, created_at)
select $1, m.id, $3, $4
from merchants m
where m.id = $2
returning id
