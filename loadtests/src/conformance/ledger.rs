//! `loadtest verify-ledger`: the invariants of a whole database, as its owner sees it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use comfy_table::Table;
use sqlx::{Connection, PgConnection, Row};

use super::world::World;
use crate::validity::Invariant;

/// Check the invariants of whole databases: journals, balances, totals, events
///
/// Runs db/queries/check_invariants.sql on the databases of both services of the running stack (`make up`), or on one
/// database that is given, and prints a table: each invariant, and how many rows break it. It only reads.
///
/// Exit codes: 0 every invariant holds; 1 one is broken; 2 could not run, or was interrupted (one line says why).
#[derive(Debug, Args)]
pub struct VerifyLedger {
    /// The owner's URL of one database [default: both databases of the running stack]
    #[arg(long, value_name = "URL", conflicts_with = "stack")]
    database_url: Option<String>,
    /// The stack.json of the running stack [default: that of this clone, or in the folder that TWINPAY_STACK names]
    #[arg(long, value_name = "FILE")]
    stack: Option<PathBuf>,
}

impl VerifyLedger {
    /// True where every invariant holds.
    pub async fn run(self) -> anyhow::Result<bool> {
        let databases = match self.database_url {
            Some(url) => vec![("given".to_owned(), url)],
            None => {
                let stack = self.stack.map_or_else(stack::stack_json::path, Ok)?;
                World::running(&stack)?.databases
            }
        };
        verify(&databases).await
    }
}

/// Asks Postgres; not as the service's role, which can't read everything. An empty answer is an error, not a proof.
pub async fn invariants(url: &str) -> anyhow::Result<Vec<Invariant>> {
    let mut connection = PgConnection::connect(url).await.context("connecting as the owner")?;
    // Sorting whole tables on disk takes twice as long: 8.3 s against 4.5 at 250 000 operations.
    sqlx::raw_sql("set work_mem = '256MB'").execute(&mut connection).await.context("setting work_mem")?;
    let query = sqlx::query(include_str!("../../../db/queries/check_invariants.sql"));
    let rows = query.fetch_all(&mut connection).await.context("check_invariants")?;
    connection.close().await.ok();
    if rows.is_empty() {
        bail!("check_invariants said nothing");
    }
    rows.iter()
        .map(|row| {
            Ok(Invariant {
                name: row.try_get(0)?,
                looked_at: row.try_get(1)?,
                violations: row.try_get(2)?,
                example: row.try_get(3)?,
            })
        })
        .collect()
}

/// Prints a table a database; true where all hold.
pub async fn verify(databases: &[(String, String)]) -> anyhow::Result<bool> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header(["database", "invariant", "rows", "violations", "example"]);
    let mut holds = true;
    for (name, url) in databases {
        for invariant in invariants(url).await.with_context(|| format!("database {name}"))? {
            holds &= invariant.violations == 0;
            let example = invariant.example.unwrap_or_default();
            let (looked, broken) = (invariant.looked_at.to_string(), invariant.violations.to_string());
            table.add_row([name.as_str(), &invariant.name, &looked, &broken, &example]);
        }
    }
    println!("{table}");
    Ok(holds)
}
