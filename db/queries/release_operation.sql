-- release_operation: hands a pending operation to the recovery before its lease ends, when the acquirer's answer is
-- unknown. Not at once: the recovery would ask an acquirer in trouble again and again.
-- One row when it was released; no row when somebody else holds or has recorded it.
-- $1 merchant_id, $2 operation_id, $3 lease_token, $4 leased_until
update operations
set leased_until = $4
where merchant_id = $1 and id = $2 and state = 'pending' and lease_token = $3
returning id
