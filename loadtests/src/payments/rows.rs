//! What the replies must have left behind, counted in the database by its owner, not by the service.

use anyhow::Context;
use sqlx::{Connection, PgConnection};

/// In the order of the player's effects: payment tokens, payments, captures, refunds.
const COUNTS: [&str; 4] = [
    "select count(*) from payment_tokens",
    "select count(*) from payments where state <> 'processing'",
    "select count(*) from operations where kind = 'capture' and state = 'succeeded'",
    "select count(*) from operations where kind = 'refund' and state = 'succeeded'",
];

/// Rows of each effect in the database of `owner_url`.
pub async fn count(owner_url: &str) -> anyhow::Result<Vec<u64>> {
    let mut connection = PgConnection::connect(owner_url).await.context("connecting to count rows")?;
    let mut rows = Vec::new();
    for statement in COUNTS {
        let count: i64 = sqlx::query_scalar(statement).fetch_one(&mut connection).await.context(statement)?;
        rows.push(count.unsigned_abs());
    }
    connection.close().await?;
    Ok(rows)
}

/// The server's version.
pub async fn server_version(owner_url: &str) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(owner_url).await?;
    let version: String = sqlx::query_scalar("show server_version").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(version)
}
