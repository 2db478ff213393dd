//! What happened, in the order in which merchants are told.

use time::OffsetDateTime;
use uuid::Uuid;

use super::db::{Db, Failure, Step, broken};
use crate::telemetry::Call;

/// What a look into the outbox came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// False where another holds the lease, and where there was nothing to do.
    pub leader: bool,
    /// So many have their sequence.
    pub events: i64,
    /// When the oldest of them happened.
    pub oldest: Option<OffsetDateTime>,
}

/// Moves up to `limit` events into the log, if the lease is ours or free. Not part of any trace: it polls.
pub async fn publish_events(
    db: &Db,
    call: &Call,
    holder: Uuid,
    now: OffsetDateTime,
    leased_until: OffsetDateTime,
    limit: i64,
) -> Result<Published, Failure> {
    let make = || sqlx::query_file!("../../db/queries/publish_events.sql", holder, now, leased_until, limit);
    let rows = db.rows(Step::background(call, "publish_events"), make).await?;
    let [row] = rows.as_slice() else { return Err(broken("publish_events")) };
    let (Some(leader), Some(events)) = (row.leader, row.published) else {
        return Err(broken("publish_events"));
    };
    Ok(Published { leader, events, oldest: row.oldest_created_at })
}
