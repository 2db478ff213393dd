-- delete_webhook_endpoint: removes an endpoint with its deliveries and attempts.
-- One row when it was removed; no row when the merchant has none with this id.
-- $1 merchant_id, $2 endpoint_id
delete from webhook_endpoints w
where w.merchant_id = $1 and w.id = $2
returning w.id
