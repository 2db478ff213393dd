//! Payment tokens.

use super::{
    db::{Db, Failure, Step, broken},
    idempotency::{Claim, claimed, status},
};
use crate::{
    domain::{
        card::{Brand, Expiry, PaymentToken},
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
    /// As it is shown.
    pub token: &'a PaymentToken,
    /// Keyed, stretched, per merchant.
    pub fingerprint: [u8; 32],
    /// What the card network knows it by.
    pub network_token: &'a str,
    /// What the key will answer.
    pub reply: &'a Reply,
}

/// Stores a token and the reply under its key.
pub async fn insert_payment_token(db: &Db, call: &Call, new: &NewToken<'_>) -> Result<Claim<()>, Failure> {
    let token = new.token;
    let make = || {
        sqlx::query_file!(
            "../../db/queries/insert_payment_token.sql",
            new.merchant.0,
            new.key,
            new.request_hash.as_slice(),
            token.id.0,
            new.fingerprint.as_slice(),
            new.network_token,
            token.brand.as_str(),
            token.last4,
            token.expiry.month,
            token.expiry.year,
            token.created_at,
            status(new.reply),
            new.reply.body.as_str(),
        )
    };
    let row = db.rows(Step::later(call, "insert_payment_token"), make).await?.pop();
    let row = row.ok_or_else(|| broken("insert_payment_token"))?;
    claimed("insert_payment_token", row.outcome.as_deref(), row.reply_status, row.reply_body, || Some(()))
}

/// None where the merchant has no such token.
pub async fn get_payment_token(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    id: TokenId,
) -> Result<Option<PaymentToken>, Failure> {
    let make = || sqlx::query_file!("../../db/queries/get_payment_token.sql", merchant.0, id.0);
    let row = db.rows(Step::first(call, "get_payment_token"), make).await?.pop();
    row.map(|row| {
        let brand = Brand::parse(&row.brand).ok_or_else(|| broken("get_payment_token"))?;
        let expiry = Expiry { month: row.exp_month, year: row.exp_year };
        Ok(PaymentToken { id: TokenId(row.id), brand, last4: row.last4, expiry, created_at: row.created_at })
    })
    .transpose()
}
