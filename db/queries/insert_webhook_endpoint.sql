-- insert_webhook_endpoint: creates an endpoint, unless the merchant has $5 already. Two at the same moment may both be let
-- in at the last place: the limit bounds the fan-out, it isn't a promise.
-- One row when it was created; no row when there are enough.
-- $1 merchant_id, $2 endpoint_id, $3 url, $4 now, $5 limit
insert into webhook_endpoints (merchant_id, id, url, created_at)
select $1, $2, $3, $4
where (select count(*) from webhook_endpoints w where w.merchant_id = $1) < $5
returning id
