//! What the workers tidy up beside the road: balances and old idempotency keys.

use time::OffsetDateTime;

use super::db::{Db, Failure, Step, broken};
use crate::telemetry::Call;

/// Folds up to `limit` journals into the balances; how many it were.
pub async fn roll_up_balances(db: &Db, call: &Call, limit: i64) -> Result<i64, Failure> {
    let make = || sqlx::query_file!("../../db/queries/roll_up_balances.sql", limit);
    let row = db.rows(Step::background(call, "roll_up_balances"), make).await?.pop();
    row.and_then(|row| row.journals).ok_or_else(|| broken("roll_up_balances"))
}

/// Forgets up to `limit` finished keys that are older than `created_before`; how many it were.
pub async fn sweep_idempotency_keys(
    db: &Db,
    call: &Call,
    created_before: OffsetDateTime,
    limit: i64,
) -> Result<i64, Failure> {
    let make = || sqlx::query_file!("../../db/queries/sweep_idempotency_keys.sql", created_before, limit);
    let row = db.rows(Step::background(call, "sweep_idempotency_keys"), make).await?.pop();
    row.and_then(|row| row.keys).ok_or_else(|| broken("sweep_idempotency_keys"))
}
