//! Payment tokens.

use time::OffsetDateTime;

use super::{
    db::{Db, Failure, Step, broken},
    idempotency::{Claim, claimed, status},
};
use crate::{
    domain::{
        card::{Brand, Expiry},
        id::{MerchantId, TokenId},
    },
    reply::Reply,
    telemetry::Call,
};

/// A card as it is kept: nothing of its number but the last digits and a keyed fingerprint.
pub struct NewToken<'a> {
    /// Whose.
    pub merchant: MerchantId,
    /// The key that it is made under.
    pub key: &'a str,
    /// What the key stands for.
    pub request_hash: [u8; 32],
    /// ptk_…
    pub id: TokenId,
    /// Keyed, stretched, per merchant.
    pub fingerprint: [u8; 32],
    /// What the card network knows it by.
    pub network_token: &'a str,
    /// By the number's first digits.
    pub brand: Brand,
    /// May be shown.
    pub last4: &'a str,
    /// May be shown.
    pub expiry: Expiry,
    /// The clock of this request.
    pub now: OffsetDateTime,
    /// What the key will answer.
    pub reply: &'a Reply,
}

/// Stores a token and the reply under its key.
pub async fn insert_payment_token(db: &Db, call: &Call, new: &NewToken<'_>) -> Result<Claim<()>, Failure> {
    let make = || {
        sqlx::query_file!(
            "../../db/queries/insert_payment_token.sql",
            new.merchant.0,
            new.key,
            new.request_hash.as_slice(),
            new.id.0,
            new.fingerprint.as_slice(),
            new.network_token,
            new.brand.as_str(),
            new.last4,
            new.expiry.month,
            new.expiry.year,
            new.now,
            status(new.reply),
            new.reply.body.as_str(),
        )
    };
    let row = db.rows(Step::later(call, "insert_payment_token"), make).await?.pop();
    let row = row.ok_or_else(|| broken("insert_payment_token"))?;
    claimed("insert_payment_token", row.outcome.as_deref(), row.reply_status, row.reply_body, || Some(()))
}
