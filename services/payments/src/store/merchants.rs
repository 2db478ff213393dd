//! Merchants and their API keys.

use time::OffsetDateTime;

use super::{
    db::{Db, Failure, Step, broken},
    idempotency::{Claim, claimed, status},
};
use crate::{
    domain::{
        id::{KeyId, MerchantId, NIL_MERCHANT},
        merchant::{ApiKey, Merchant},
    },
    reply::Reply,
    telemetry::Call,
};

/// Stores a merchant and, where a key is given, the reply under it.
pub async fn insert_merchant(
    db: &Db,
    call: &Call,
    key: Option<(&str, [u8; 32])>,
    merchant: &Merchant,
    reply: &Reply,
) -> Result<Claim<()>, Failure> {
    let make = || {
        sqlx::query_file!(
            "../../db/queries/insert_merchant.sql",
            NIL_MERCHANT.0,
            key.map(|(key, _)| key),
            key.as_ref().map(|(_, hash)| hash.as_slice()),
            merchant.id.0,
            merchant.name,
            merchant.fees.bps,
            merchant.fees.fixed,
            merchant.amount_limit,
            merchant.velocity_limit,
            merchant.created_at,
            status(reply),
            reply.body.as_str(),
        )
    };
    let row = db.rows(Step::first(call, "insert_merchant"), make).await?.pop();
    let row = row.ok_or_else(|| broken("insert_merchant"))?;
    claimed("insert_merchant", row.outcome.as_deref(), row.reply_status, row.reply_body, || Some(()))
}

/// Stores a key. False where there is no such merchant.
pub async fn insert_api_key(
    db: &Db,
    call: &Call,
    id: KeyId,
    merchant: MerchantId,
    secret_sha256: &[u8; 32],
    now: OffsetDateTime,
) -> Result<bool, Failure> {
    let make = || {
        sqlx::query_file!(
            "../../db/queries/insert_api_key.sql",
            id.0,
            merchant.0,
            secret_sha256.as_slice(),
            now
        )
    };
    let rows = db.rows(Step::first(call, "insert_api_key"), make).await?;
    Ok(!rows.is_empty())
}

/// Revokes a key once: the first time stays. None where there is no such key.
pub async fn revoke_api_key(
    db: &Db,
    call: &Call,
    id: KeyId,
    now: OffsetDateTime,
) -> Result<Option<ApiKey>, Failure> {
    let make = || sqlx::query_file!("../../db/queries/revoke_api_key.sql", id.0, now);
    let row = db.rows(Step::first(call, "revoke_api_key"), make).await?.pop();
    Ok(row.map(|row| ApiKey {
        id: KeyId(row.id),
        merchant: MerchantId(row.merchant_id),
        secret: None,
        created_at: row.created_at,
        revoked_at: row.revoked_at,
    }))
}

/// What a credential is checked against.
#[derive(Clone)]
pub struct Credential {
    /// Whose.
    pub merchant: MerchantId,
    /// Over the secret's 64 hex digits.
    pub secret_sha256: [u8; 32],
}

/// None where the key is unknown or revoked. Not part of a request's trace: one look-up serves many.
pub async fn find_api_key(db: &Db, call: &Call, id: KeyId) -> Result<Option<Credential>, Failure> {
    let make = || sqlx::query_file!("../../db/queries/find_api_key.sql", id.0);
    let row = db.rows(Step::untraced(call, "find_api_key"), make).await?.pop();
    row.filter(|row| row.revoked_at.is_none())
        .map(|row| {
            let secret_sha256 = row.secret_sha256.try_into().map_err(|_| broken("find_api_key"))?;
            Ok(Credential { merchant: MerchantId(row.merchant_id), secret_sha256 })
        })
        .transpose()
}
