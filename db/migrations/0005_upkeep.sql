-- What the workers beside the road need: folding journals into balances, forgetting old keys; and revoking API keys.

grant insert, update on balances to twinpay_service;
grant delete on ledger_tail to twinpay_service;
grant update on ledger_tail to twinpay_service; -- roll_up_balances' "for update" asks for it
grant delete on idempotency_keys, idempotency_replies to twinpay_service;
grant update (created_at) on idempotency_keys to twinpay_service; -- sweep_idempotency_keys' "for update" asks for it
grant update (revoked_at) on api_keys to twinpay_service;

update schema_version set version = 5;
