//! A database with the schema in it. The Rust service owns the command that applies it: `payments migrate`.

use std::time::Duration;

use crate::binaries;
use crate::error::{Error, Result};
use crate::postgres::create_database;
use crate::process::errand;
use crate::urls;

/// The role of both services, made by the first migration. Roles belong to the server, not to a database.
pub const SERVICE_ROLE: &str = "twinpay_service";
/// A migration of an empty database takes well under a second.
const LIMIT: Duration = Duration::from_secs(60);

/// A database and the two ways into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// For checks and migrations.
    pub owner_url: String,
    /// For the services.
    pub service_url: String,
}

/// Makes the database `name` on the server of `server_url` (an owner's URL, of any database), unless it is there, and
/// brings it to the newest schema. Every database of a server needs the same `service_password`: there is one role.
pub async fn migrated_database(server_url: &str, name: &str, service_password: &str) -> Result<Database> {
    create_database(server_url, name).await?;
    let owner_url = urls::with_database(server_url, name)?;
    migrate(&owner_url, service_password).await?;
    let service_url = urls::with_user(&owner_url, SERVICE_ROLE, service_password)?;
    Ok(Database { owner_url, service_url })
}

/// Runs `payments migrate`.
pub async fn migrate(owner_url: &str, service_password: &str) -> Result<()> {
    let program = binaries::rust()?;
    let mut command = errand(&program, None);
    command
        .arg("migrate")
        .env("TWINPAY_DATABASE_URL", owner_url)
        .env("TWINPAY_SERVICE_PASSWORD", service_password);
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .map_err(|_| Error::Other(format!("payments migrate didn't end within {} s", LIMIT.as_secs())))?
        .map_err(Error::io(format!("running {}", program.display())))?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Err(Error::Other(format!("payments migrate failed ({}): {}", output.status, said.trim())))
}
