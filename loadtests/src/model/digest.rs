//! A database's ledger as lines that don't depend on ids, and their SHA-256.

use anyhow::Context;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, Row};

/// Payments and operations are counted within their merchant, in the order of their making.
const QUERY: &str = "
  select m.name || ' payment ' || p.place || ' operation ' || o.place || ' ' || o.kind || ' ' || l.account || ' '
    || l.currency || ' ' || l.amount
  from ledger_entries l
  join (select *, row_number() over (partition by merchant_id order by created_at, id) as place from operations) o
    on o.merchant_id = l.merchant_id and o.id = l.operation_id
  join (select *, row_number() over (partition by merchant_id order by created_at, id) as place from payments) p
    on p.merchant_id = o.merchant_id and p.id = o.payment_id
  join merchants m on m.id = l.merchant_id
  order by m.name collate \"C\", o.place, l.account collate \"C\"";

/// The entries of a whole database, in order.
pub async fn entries(url: &str) -> anyhow::Result<Vec<String>> {
    let mut connection = PgConnection::connect(url).await.context("connecting as the owner")?;
    let rows = sqlx::query(QUERY).fetch_all(&mut connection).await.context("reading the ledger")?;
    connection.close().await.ok();
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// SHA-256 over lines, in hex.
pub fn sha256<'a>(lines: impl IntoIterator<Item = &'a String>) -> String {
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line);
        hash.update("\n");
    }
    hex::encode(hash.finalize())
}
