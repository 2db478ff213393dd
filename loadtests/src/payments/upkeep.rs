//! Keeps Postgres' own housekeeping out of the slices: none by itself, and once on both databases before the first.

use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::{Connection, PgConnection};
use tokio::time::{interval, timeout};

/// Rows of a table that holds some; fewer are the rest of a queue, or what the schema brings along.
const FEW: u32 = 100;
/// Every table that isn't Postgres' own, as statements name it.
const TABLES: &str = "select format('%I.%I', schemaname, tablename) from pg_tables
    where schemaname not in ('pg_catalog', 'information_schema') order by 1";
/// A server takes up a new setting in milliseconds.
const TAKE_UP: Duration = Duration::from_secs(10);

/// Switches autovacuum off on a whole server: it would run in one contender's slices and not in the other's.
pub async fn no_autovacuum(server_url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(server_url).await.context("connecting as the owner")?;
    for statement in ["alter system set autovacuum = off", "select pg_reload_conf()"] {
        sqlx::raw_sql(statement).execute(&mut connection).await.context(statement)?;
    }
    connection.close().await?;
    let taken_up = async {
        let mut looks = interval(Duration::from_millis(10));
        while autovacuum(server_url).await? != "off" {
            looks.tick().await;
        }
        anyhow::Ok(())
    };
    match timeout(TAKE_UP, taken_up).await {
        Ok(taken_up) => taken_up,
        Err(_) => bail!("Postgres keeps autovacuum on {} s after it was switched off", TAKE_UP.as_secs()),
    }
}

/// `on` or `off`, as the server has it for new connections.
pub async fn autovacuum(server_url: &str) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(server_url).await.context("connecting as the owner")?;
    let setting = sqlx::query_scalar("show autovacuum").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(setting)
}

/// Vacuums and analyses what holds rows in each database, as its owner, one after the other.
///
/// Of a table that was empty then, Postgres would think that it stays so, and the services would keep plans that read all of it: where the
/// warm-up made tokens alone, the recovery's look took 10 ms within a minute of sales, and a roll-up 300. Of one that was never looked at
/// it assumes ten pages (`estimate_rel_size` in its `plancat.c`), which gives the plans of a table that is in use.
pub async fn vacuum(owner_urls: &[String]) -> anyhow::Result<()> {
    for url in owner_urls {
        let mut connection = PgConnection::connect(url).await.context("connecting as the owner")?;
        let tables = sqlx::query_scalar::<_, String>(TABLES)
            .fetch_all(&mut connection)
            .await
            .context("asking for the tables")?;
        let mut filled = Vec::new();
        for table in tables {
            let enough =
                format!("select count(*) >= {FEW} from (select from {table} limit {FEW}) as counted");
            let enough = sqlx::query_scalar::<_, bool>(sqlx::AssertSqlSafe(enough));
            if enough.fetch_one(&mut connection).await.with_context(|| format!("counting rows of {table}"))? {
                filled.push(table);
            }
        }
        if !filled.is_empty() {
            let vacuum = format!("vacuum (analyze) {}", filled.join(", "));
            let vacuum = sqlx::raw_sql(sqlx::AssertSqlSafe(vacuum));
            vacuum.execute(&mut connection).await.context("vacuum (analyze)")?;
        }
        connection.close().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stack::postgres::{Durability, Options, Postgres, create_database};

    #[tokio::test]
    async fn autovacuum_is_off_and_what_holds_rows_is_analysed() {
        // A server of its own: the setting is the whole server's.
        let server = Postgres::start(Options::temporary(Durability::None).unwrap()).await.unwrap();
        assert_eq!(autovacuum(&server.url("postgres")).await.unwrap(), "on");
        no_autovacuum(&server.url("postgres")).await.unwrap();
        assert_eq!(autovacuum(&server.url("postgres")).await.unwrap(), "off");
        let urls = ["one", "two"].map(|name| server.url(name));
        for (name, url) in ["one", "two"].into_iter().zip(&urls) {
            create_database(&server.url("postgres"), name).await.unwrap();
            let mut connection = PgConnection::connect(url).await.unwrap();
            let tables = "create table numbers as select generate_series(1, 100) as number;
                create table rest as select generate_series(1, 99) as number;
                create table empty (number integer)";
            sqlx::raw_sql(tables).execute(&mut connection).await.unwrap();
        }
        vacuum(&urls).await.unwrap();
        for url in &urls {
            let mut connection = PgConnection::connect(url).await.unwrap();
            // -1 until the first vacuum or analyze.
            for (table, known) in [("numbers", 100), ("rest", -1), ("empty", -1)] {
                let rows = format!("select reltuples::bigint from pg_class where relname = '{table}'");
                let rows = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(rows));
                assert_eq!(rows.fetch_one(&mut connection).await.unwrap(), known, "{table} of {url}");
            }
            let width = "select count(*) from pg_stats where tablename = 'numbers'";
            let columns: i64 = sqlx::query_scalar(width).fetch_one(&mut connection).await.unwrap();
            assert_eq!(columns, 1, "{url}");
        }
        server.stop().await.unwrap();
    }
}
