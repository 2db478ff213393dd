//! What a key answers, and what became of a statement that takes one.

use time::OffsetDateTime;

use super::db::{Db, Failure, Step, broken};
use crate::{
    domain::{
        error::Error,
        id::{MerchantId, OperationId},
    },
    reply::Reply,
    telemetry::Call,
};

/// What became of a statement that takes a key. Only `Ours` has written anything.
pub enum Claim<T> {
    /// The key is ours, and so is this.
    Ours(T),
    /// It isn't, or the statement refused: the request's answer.
    Answered(Result<Reply, Error>),
    /// Another took key or payment meanwhile, and this snapshot can't see who: run it again.
    LookAgain,
}

/// Under which key, with which lease, in which trace.
pub struct Ticket<'a> {
    /// Whose.
    pub merchant: MerchantId,
    /// The idempotency key.
    pub key: &'a str,
    /// What the key stands for.
    pub request_hash: [u8; 32],
    /// The new operation.
    pub operation: OperationId,
    /// The clock of this request.
    pub now: OffsetDateTime,
    /// When the recovery may take it.
    pub leased_until: OffsetDateTime,
    /// What the recovery's span links to.
    pub traceparent: String,
}

/// None where the key is free. `first`: the request has done nothing yet.
pub async fn find_replay(
    db: &Db,
    call: &Call,
    first: bool,
    merchant: MerchantId,
    key: &str,
    request_hash: &[u8; 32],
) -> Result<Option<Result<Reply, Error>>, Failure> {
    let step = Step { first, ..Step::first(call, "find_replay") };
    let make =
        || sqlx::query_file!("../../db/queries/find_replay.sql", merchant.0, key, request_hash.as_slice());
    let row = db.rows(step, make).await?.pop();
    Ok(row.map(|row| match (row.same_request, row.reply_status, row.reply_body) {
        (Some(true), Some(status), Some(body)) => Ok(replay(status, body)),
        (Some(true), _, _) => Err(Error::IdempotencyInProgress),
        (_, _, _) => Err(Error::IdempotencyKeyReused),
    }))
}

/// What a statement's row says, of what all that take a key can say; `ours` reads the rest of the row.
pub(super) fn claimed<T>(
    statement: &'static str,
    outcome: Option<&str>,
    status: Option<i16>,
    body: Option<String>,
    ours: impl FnOnce() -> Option<T>,
) -> Result<Claim<T>, Failure> {
    Ok(match (outcome, status, body) {
        (Some("claimed" | "created"), _, _) => Claim::Ours(ours().ok_or_else(|| broken(statement))?),
        (Some("replay"), Some(status), Some(body)) => Claim::Answered(Ok(replay(status, body))),
        (Some("replay" | "in_progress"), _, _) => Claim::Answered(Err(Error::IdempotencyInProgress)),
        (Some("key_reused"), _, _) => Claim::Answered(Err(Error::IdempotencyKeyReused)),
        (Some("not_found"), _, _) => Claim::Answered(Err(Error::ResourceNotFound)),
        (Some("look_again"), _, _) => Claim::LookAgain,
        (_, _, _) => return Err(broken(statement)),
    })
}

fn replay(status: i16, body: String) -> Reply {
    Reply { status: u16::try_from(status).unwrap_or(500), body, replayed: true }
}

/// The status as Postgres keeps it.
pub(super) fn status(reply: &Reply) -> i16 {
    i16::try_from(reply.status).unwrap_or(500)
}
