//! Payment tokens.

use time::OffsetDateTime;

use super::{
    db::{Db, Failure, Step, broken},
    idempotency::{Taken, replay},
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

struct Row {
    outcome: Option<String>,
    reply_status: Option<i16>,
    reply_body: Option<String>,
}

/// What became of a single step under a key.
#[derive(Debug)]
pub enum Inserted {
    /// It is there, and the key answers its reply.
    Created,
    /// The key was taken.
    Taken(Taken),
    /// The key was taken while this ran, and this snapshot can't see by whom: run it again.
    LookAgain,
}

/// Stores a token and the reply under its key.
pub async fn insert_payment_token(db: &Db, call: &Call, new: &NewToken<'_>) -> Result<Inserted, Failure> {
    let make = || {
        sqlx::query_file_as!(
            Row,
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
    inserted("insert_payment_token", row.outcome.as_deref(), row.reply_status, row.reply_body)
}

/// The status as Postgres keeps it.
pub(super) fn status(reply: &Reply) -> i16 {
    i16::try_from(reply.status).unwrap_or(500)
}

pub(super) fn inserted(
    statement: &'static str,
    outcome: Option<&str>,
    status: Option<i16>,
    body: Option<String>,
) -> Result<Inserted, Failure> {
    match (outcome, status, body) {
        (Some("created"), _, _) => Ok(Inserted::Created),
        (Some("replay"), Some(status), Some(body)) => Ok(Inserted::Taken(replay(status, body))),
        (Some("replay"), _, _) => Ok(Inserted::Taken(Taken::InProgress)),
        (Some("key_reused"), _, _) => Ok(Inserted::Taken(Taken::Reused)),
        (Some("look_again"), _, _) => Ok(Inserted::LookAgain),
        (_, _, _) => Err(broken(statement)),
    }
}
