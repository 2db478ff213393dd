//! What a key answers now.

use uuid::Uuid;

use super::db::{Db, Failure, Step};
use crate::{domain::id::MerchantId, reply::Reply, telemetry::Call};

/// What the key of a claim, or of a single step, answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Finished, same request.
    Replay(Reply),
    /// Another request has it.
    Reused,
    /// Its operation is pending.
    InProgress,
}

struct Row {
    same_request: Option<bool>,
    #[expect(dead_code, reason = "the reply says it all")]
    operation_id: Uuid,
    reply_status: Option<i16>,
    reply_body: Option<String>,
}

/// None where the key is free. `first`: the request has done nothing yet.
pub async fn find_replay(
    db: &Db,
    call: &Call,
    first: bool,
    merchant: MerchantId,
    key: &str,
    request_hash: &[u8; 32],
) -> Result<Option<Taken>, Failure> {
    let step = Step { first, ..Step::first(call, "find_replay") };
    let make = || {
        sqlx::query_file_as!(
            Row,
            "../../db/queries/find_replay.sql",
            merchant.0,
            key,
            request_hash.as_slice()
        )
    };
    let row = db.rows(step, make).await?.pop();
    Ok(row.map(|row| match (row.same_request, row.reply_status, row.reply_body) {
        (Some(true), Some(status), Some(body)) => replay(status, body),
        (Some(true), _, _) => Taken::InProgress,
        (_, _, _) => Taken::Reused,
    }))
}

/// A stored reply.
pub(super) fn replay(status: i16, body: String) -> Taken {
    Taken::Replay(Reply { status: u16::try_from(status).unwrap_or(500), body, replayed: true })
}
