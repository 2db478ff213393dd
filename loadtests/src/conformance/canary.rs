//! I10: no card number, API key or admin token is anywhere: after the cases, every table and every log is searched for
//! what the cases sent and were given.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use regex::Regex;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::case::Case;

/// Shorter or simpler numbers are found by chance, in the nil id for one.
const SHORTEST: usize = 13;

/// Every card number that the cases send, long enough to be told from other numbers.
pub fn numbers(cases: &[Case]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for case in cases {
        case.vars.values().for_each(|value| collect(value, &mut found));
        case.steps.iter().filter_map(|step| step.body.as_ref()).for_each(|body| collect(body, &mut found));
    }
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            if digits && text.len() >= SHORTEST && text.bytes().any(|byte| byte != text.as_bytes()[0]) {
                found.insert(text.clone());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => members.values().for_each(|member| collect(member, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Where any of the numbers, an API key or the admin token stands; and how many rows and lines were searched.
pub async fn search(
    numbers: &BTreeSet<String>,
    admin_token: &str,
    databases: &[(String, String)],
    logs: Option<&Path>,
) -> anyhow::Result<(Vec<String>, u64)> {
    let credentials = [regex::escape(admin_token), "tp_live_[0-9a-z]{26}_[0-9a-f]{64}".to_owned()];
    // An alternative of its own each: an empty one, of cases without a card, would match everything.
    let numbers = numbers.iter().map(|number| alone(number));
    let secrets = numbers.chain(credentials).collect::<Vec<_>>().join("|");
    let (mut found, mut searched) = (Vec::new(), 0);
    for (name, url) in databases {
        for (table, rows, hits) in
            search_tables(url, &secrets).await.with_context(|| format!("database {name}"))?
        {
            searched += rows;
            if hits > 0 {
                found.push(format!(
                    "database {name}: {hits} rows of {table} hold a card number or a credential"
                ));
            }
        }
    }
    let pattern = Regex::new(&secrets)?;
    for entry in logs.map(std::fs::read_dir).transpose()?.into_iter().flatten() {
        let path = entry?.path();
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        searched += text.lines().count() as u64;
        found.extend(
            text.lines()
                .find(|line| pattern.is_match(line))
                .map(|line| format!("{}: {line}", path.display())),
        );
    }
    Ok((found, searched))
}

/// A number that isn't part of a longer one: `0.14000000000000002` is a duration, and holds a card number.
fn alone(number: &str) -> String {
    format!("(^|[^0-9.]){number}($|[^0-9])")
}

async fn search_tables(url: &str, secrets: &str) -> anyhow::Result<Vec<(String, u64, u64)>> {
    let mut connection = PgConnection::connect(url).await.context("connecting as the owner")?;
    let names = sqlx::query("select tablename::text from pg_tables where schemaname = 'public' order by 1");
    let mut counts = Vec::new();
    for row in names.fetch_all(&mut connection).await? {
        let table: String = row.try_get(0)?;
        // The name comes from the catalogue, quoted; the pattern is a parameter.
        let text = format!("select count(*), count(*) filter (where t::text ~ $1) from \"{table}\" t");
        let row = sqlx::query(AssertSqlSafe(text)).bind(secrets).fetch_one(&mut connection).await?;
        let count = |index| anyhow::Ok(u64::try_from(row.try_get::<i64, _>(index)?)?);
        counts.push((table, count(0)?, count(1)?));
    }
    connection.close().await.ok();
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_found_wherever_a_case_has_them() {
        let mut found = BTreeSet::new();
        collect(
            &json!({"card": {"number": "4242424242424242", "cvc": "123"}, "a": ["0000000000000000", "12345"]}),
            &mut found,
        );
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["4242424242424242"]);
    }

    #[tokio::test]
    async fn a_number_in_a_log_is_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.log"), "fine\nfailed for 4242424242424242\n").unwrap();
        let numbers = BTreeSet::from(["4242424242424242".to_owned()]);
        let (found, searched) = search(&numbers, "token", &[], Some(folder.path())).await.unwrap();
        assert!(found.len() == 1 && found[0].contains("failed for"), "{found:?}");
        assert_eq!(searched, 2);
    }

    #[tokio::test]
    async fn a_fraction_is_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let log = "{\"ms\":0.14000000000000002}\n{\"ms\":4.000000000000002}\n{\"ms\":0.4000000000000002}\n";
        std::fs::write(folder.path().join("a.log"), log).unwrap();
        let numbers = BTreeSet::from(["4000000000000002".to_owned()]);
        let search = async || search(&numbers, "token", &[], Some(folder.path())).await.unwrap().0;
        assert!(search().await.is_empty());
        for line in ["4000000000000002", "card=4000000000000002,", "\"4000000000000002\""] {
            std::fs::write(folder.path().join("a.log"), line).unwrap();
            assert_eq!(search().await.len(), 1, "{line}");
        }
    }

    #[tokio::test]
    async fn cases_without_a_card_leak_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.log"), "fine\n").unwrap();
        let (found, _) = search(&BTreeSet::new(), "token", &[], Some(folder.path())).await.unwrap();
        assert!(found.is_empty(), "{found:?}");
    }
}
