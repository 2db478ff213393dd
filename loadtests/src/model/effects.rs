//! What sequences left behind in a database: the ledger's sums and the events, by merchant.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use sqlx::{Connection, PgConnection, Row};

use super::machine::Machine;

/// Sums by currency and account, counts by type of event.
pub type Effects = BTreeMap<String, i64>;

/// Merchants are told by their names, which are one sequence's each. An event is in one of two places.
const QUERY: &str = "
  select m.name, l.currency || ' ' || l.account, sum(l.amount)::bigint
  from merchants m
  join ledger_entries l on l.merchant_id = m.id
  where $1::text is null or m.name = $1
  group by m.id, m.name, l.currency, l.account
  union all
  select m.name, e.type, count(*)
  from merchants m
  join (select merchant_id, type from outbox union all select merchant_id, type from events) e on e.merchant_id = m.id
  where $1::text is null or m.name = $1
  group by m.id, m.name, e.type";

/// Of the merchants with this name, or of all.
pub async fn read(url: &str, name: Option<&str>) -> anyhow::Result<HashMap<String, Effects>> {
    let mut connection = PgConnection::connect(url).await.context("connecting as the owner")?;
    let rows = sqlx::query(QUERY).bind(name).fetch_all(&mut connection).await.context("reading effects")?;
    connection.close().await.ok();
    let mut all: HashMap<String, Effects> = HashMap::new();
    for row in rows {
        all.entry(row.try_get(0)?).or_default().insert(row.try_get(1)?, row.try_get(2)?);
    }
    Ok(all)
}

/// Everything in which the effects aren't those of the machine.
pub fn faults(machine: &Machine, found: &Effects) -> Vec<String> {
    let mut wanted: Effects =
        machine.events.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
    wanted.extend(
        machine.balances().iter().map(|((currency, account), sum)| (format!("{currency} {account}"), *sum)),
    );
    let names: std::collections::BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
    let differs = names.into_iter().filter(|name| wanted.get(*name) != found.get(*name));
    let show = |effect: Option<&i64>| effect.map_or_else(|| "none".into(), i64::to_string);
    differs
        .map(|name| {
            format!(
                "the database has {} of {name}, expected {}",
                show(found.get(name)),
                show(wanted.get(name))
            )
        })
        .collect()
}
