//! I7: what the database says of each operation against what the card network says of it.

use anyhow::Context;
use futures::stream::{self, StreamExt};
use serde_json::json;
use sqlx::{Connection, PgConnection, Row};
use time::OffsetDateTime;

use super::case::{Door, Step, Values};
use super::node::Node;
use super::route::{Site, Target};
use super::session::Bench;

/// Asked at once.
const ASKING: usize = 16;
/// Crockford's base32 in lower case, as TypeID has it.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// An operation as the database has it.
struct Recorded {
    id: String,
    kind: String,
    state: String,
    amount: i64,
}

/// Compares every operation made since `begin`; how many agree.
pub async fn with_network(
    bench: &Bench,
    url: &str,
    acquirer: &str,
    begin: OffsetDateTime,
    faults: &mut Vec<String>,
) -> anyhow::Result<usize> {
    let target = Target { name: "acquirer".into(), http: String::new(), grpc: acquirer.into() };
    let site = Site { target, door: Door::Grpc };
    let recorded = recorded(url, begin).await?;
    let site = &site;
    let asked = recorded.iter().map(|operation| async move { compare(bench, site, operation).await });
    let mut answers = stream::iter(asked).buffer_unordered(ASKING);
    let mut agreed = 0;
    while let Some(answer) = answers.next().await {
        match answer? {
            None => agreed += 1,
            Some(fault) => faults.push(fault),
        }
    }
    Ok(agreed)
}

async fn recorded(url: &str, begin: OffsetDateTime) -> anyhow::Result<Vec<Recorded>> {
    let mut connection = PgConnection::connect(url).await.context("connecting as the owner")?;
    let query = sqlx::query(
        "select replace(id::text, '-', ''), kind, state, coalesce(amount, 0) from operations
         where created_at >= $1 and not risk_blocked",
    );
    let rows = query.bind(begin).fetch_all(&mut connection).await.context("reading operations")?;
    connection.close().await.ok();
    let read = |row: &sqlx::postgres::PgRow| {
        let digits: String = row.try_get(0)?;
        let id = type_id("op", u128::from_str_radix(&digits, 16)?);
        anyhow::Ok(Recorded { id, kind: row.try_get(1)?, state: row.try_get(2)?, amount: row.try_get(3)? })
    };
    rows.iter().map(read).collect()
}

async fn compare(bench: &Bench, site: &Site, operation: &Recorded) -> anyhow::Result<Option<String>> {
    let step = Step {
        grpc: Some("acquirer.v1.AcquirerService/GetOperation".into()),
        body: Some(json!({"operation_id": operation.id})),
        ..Step::default()
    };
    let reply = bench.send(site, &bench.prepare(&step, site, &Values::new())?).await?;
    let outcome = reply.body.as_ref().and_then(|body| body.at("result.outcome")).and_then(Node::text);
    let first = matches!(operation.kind.as_str(), "authorize" | "sale");
    let right = match (operation.state.as_str(), outcome) {
        ("succeeded", Some("approved")) => true,
        ("failed", Some("declined")) => first,
        ("failed", Some("refused")) => !first,
        _ => false,
    };
    let amount = reply.body.as_ref().and_then(|body| body.get("amount")).map(Node::to_string);
    let right = right && amount == Some(operation.amount.to_string());
    let Recorded { id, kind, state, amount } = operation;
    Ok((!right)
        .then(|| format!("{kind} {id} is {state} with {amount}, and the network says {}", reply.summary())))
}

/// A TypeID: 128 bits in 26 digits of five, behind a prefix.
pub fn type_id(prefix: &str, bits: u128) -> String {
    let digit =
        |place: u32| char::from(DIGITS[usize::try_from(bits >> (5 * place) & 31).unwrap_or_default()]);
    format!("{prefix}_{}", (0..26).rev().map(digit).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_ids_are_those_of_the_shared_vectors() {
        assert_eq!(
            type_id("key", 0x019a_2b3c_4d5e_7f60_8123_4567_89ab_cdef),
            "key_01k8nkrkayfxg828t5cy4tqkff"
        );
        assert_eq!(type_id("pay", u128::MAX), "pay_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }
}
