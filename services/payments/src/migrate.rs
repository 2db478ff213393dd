//! `payments migrate`: applies `db/migrations` and gives the service's role its password. A step of its own, as the owner of the
//! database; neither service changes the schema.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, migrate::Migrator};

use crate::domain::error::Cause;

static MIGRATOR: Migrator = sqlx::migrate!("../../db/migrations");

/// Roles belong to the cluster: two databases that are migrated at once may touch one at the same moment, and one of them is told
/// "tuple concurrently updated".
const ROLE_ATTEMPTS: u32 = 20;
const CONCURRENT_UPDATE: &str = "XX000";

/// Brings the schema to the version that this program was built with, and returns it. Safe to run twice, and twice at once.
pub async fn migrate(owner_url: &str, service_password: Option<&str>) -> Result<i32, Cause> {
    let mut connection = PgConnection::connect(owner_url).await?;
    retry_role(async || MIGRATOR.run_direct(None, &mut connection, false).await.map_err(Cause::from)).await?;
    if let Some(password) = service_password {
        // A utility statement takes no parameters, and a password may be any visible ASCII.
        let quoted = password.replace('\'', "''");
        let alter = format!("alter role twinpay_service password '{quoted}'");
        retry_role(async || {
            sqlx::raw_sql(AssertSqlSafe(alter.as_str())).execute(&mut connection).await?;
            Ok(())
        })
        .await?;
    }
    let version = sqlx::query_scalar("select version from schema_version").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(version)
}

async fn retry_role(mut work: impl AsyncFnMut() -> Result<(), Cause>) -> Result<(), Cause> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match work().await {
            Err(error) if attempt < ROLE_ATTEMPTS && is_concurrent_update(error.as_ref()) => {}
            result => return result,
        }
    }
}

fn is_concurrent_update(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(this) = error {
        let database = this.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
        if database.and_then(|e| e.code()).as_deref() == Some(CONCURRENT_UPDATE) {
            return true;
        }
        error = this.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::db::SCHEMA_VERSION;

    #[test]
    fn the_service_expects_the_last_migration() {
        let last = MIGRATOR.iter().map(|migration| migration.version).max();
        assert_eq!(last, Some(i64::from(SCHEMA_VERSION)));
    }
}
