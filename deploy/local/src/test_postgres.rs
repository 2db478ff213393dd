//! Postgres for tests, in any crate: the server of `TEST_DATABASE_URL`, else a container where a test asks for that first
//! ([`choose`]), else one of our own for this process.
//!
//! A database a test: names are random, so tests run side by side. Our own server is tied to this process; one given by
//! `TEST_DATABASE_URL` keeps no database of ours for longer than an hour.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::RngExt;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::{Mutex, OnceCell};

use crate::error::{Error, Result};
use crate::migrate::{self, Database, SERVICE_ROLE};
use crate::postgres::{self, Durability, Options, Postgres};
use crate::terminal::complain;
use crate::{cluster, folders, process, urls};

/// The owner's URL of a server to make databases on.
pub const VARIABLE: &str = "TEST_DATABASE_URL";
const PREFIX: &str = "twinpay_test_";
/// After this a database of a test that is long over is dropped by the next one.
const KEPT_SECONDS: u64 = 3600;

/// The server of this process. Never dropped: the kernel ends it when we are gone.
static SERVER: OnceCell<Server> = OnceCell::const_new();
/// `payments migrate` changes the one role of the server; within a process we needn't race for that.
static MIGRATING: Mutex<()> = Mutex::const_new(());

struct Server {
    url: String,
    _own: Option<Postgres>,
}

/// What came of asking for a container.
#[derive(Debug, Clone)]
pub enum Container {
    /// It runs.
    Started {
        /// The owner's URL of its Postgres.
        url: String,
        /// The image, and the host and port where it is reached.
        what: String,
    },
    /// There can't be one here, and why, in a few words.
    PassedOver(String),
}

/// Chooses the server of this process' tests, unless it is chosen: that of `TEST_DATABASE_URL`, else the one that
/// `container` starts, else one of our own. Says on stderr which, and why none before it.
pub async fn choose(container: impl AsyncFnOnce() -> Result<Container>) -> Result<()> {
    SERVER.get_or_try_init(async || start(container).await).await.map(|_| ())
}

/// The owner's URL of the server that this process' tests use. Where none is chosen it is that of `TEST_DATABASE_URL`, else
/// one of our own, and the first call says on stderr which.
pub async fn server_url() -> Result<String> {
    let choice = async || start(async || Ok(Container::PassedOver(String::new()))).await;
    Ok(SERVER.get_or_try_init(choice).await?.url.clone())
}

/// A new, empty database: its owner's URL. The schema is the caller's business.
pub async fn fresh_database() -> Result<String> {
    let server = server_url().await?;
    let name = format!("{PREFIX}{}_{:08x}", now(), rand::rng().random::<u32>());
    postgres::create_database(&server, &name).await?;
    urls::with_database(&server, &name)
}

/// A new database with the newest schema, by the `payments` program beside the test.
pub async fn migrated_database() -> Result<Database> {
    let owner_url = fresh_database().await?;
    let password = service_password(&owner_url)?;
    let _one_at_a_time = MIGRATING.lock().await;
    migrate::migrate(&owner_url, &password).await?;
    let service_url = service_url(&owner_url)?;
    Ok(Database { owner_url, service_url })
}

/// The password that tests give to the service's role: the same for all processes that share a server, since the role
/// is the server's, and known only to those who know the owner's password.
pub fn service_password(owner_url: &str) -> Result<String> {
    let server = urls::with_database(owner_url, "")?;
    let digest = Sha256::digest(format!("{SERVICE_ROLE} {server}"));
    Ok(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// The service's URL of the database of `owner_url`.
pub fn service_url(owner_url: &str) -> Result<String> {
    urls::with_user(owner_url, SERVICE_ROLE, &service_password(owner_url)?)
}

/// A fast server in a folder of its own; what dead processes left of theirs is removed first.
pub(crate) async fn start_server() -> Result<Postgres> {
    Postgres::start(Options::temporary(Durability::None)?).await
}

async fn start(container: impl AsyncFnOnce() -> Result<Container>) -> Result<Server> {
    if let Some(url) = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty()) {
        sweep_databases(&url).await?;
        complain(format_args!("tests use the Postgres of {VARIABLE}"));
        return Ok(Server { url, _own: None });
    }
    let mut why = format!("{VARIABLE} isn't set");
    match container().await? {
        Container::Started { url, what } => {
            complain(format_args!("tests use a container of {what} ({why})"));
            return Ok(Server { url, _own: None });
        }
        Container::PassedOver(reason) if reason.is_empty() => {}
        Container::PassedOver(reason) => why = format!("{why}; {reason}"),
    }
    let own = start_server().await?;
    complain(format_args!("tests use a Postgres of their own on port {} ({why})", own.port()));
    Ok(Server { url: own.url("postgres"), _own: Some(own) })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Drops the databases of tests that were over an hour ago.
async fn sweep_databases(url: &str) -> Result<()> {
    let doing = || format!("using the server of {VARIABLE}");
    let mut connection = postgres::connect(url).await.map_err(Error::database(doing()))?;
    let names: Vec<String> =
        sqlx::query_scalar("select datname::text from pg_database where starts_with(datname::text, $1)")
            .bind(PREFIX)
            .fetch_all(&mut connection)
            .await
            .map_err(Error::database(doing()))?;
    for name in names.iter().filter(|name| is_old(name, now())) {
        let statement = AssertSqlSafe(format!("drop database if exists {name}"));
        // Another process sweeps too, or a test is still connected: then it stays.
        sqlx::raw_sql(statement).execute(&mut connection).await.ok();
    }
    connection.close().await.map_err(Error::database(doing()))
}

/// Only a name that we made ourselves can be old: the rest is somebody else's.
fn is_old(name: &str, now: u64) -> bool {
    let Some((made, random)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else {
        return false;
    };
    let ours = random.len() == 8 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    ours && made.parse::<u64>().is_ok_and(|made| made + KEPT_SECONDS < now)
}

/// Removes the folders of temporary servers whose process was killed before it could.
pub(crate) async fn sweep_folders() -> Result<()> {
    let shared = folders::shared_folder()?;
    let entries = std::fs::read_dir(&shared).map_err(Error::io(format!("reading {}", shared.display())))?;
    for entry in entries.flatten() {
        let Some(owner) = owner_of(&entry.file_name().to_string_lossy()) else { continue };
        if owner.alive() {
            continue;
        }
        for data in std::fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            if let Some(left) = cluster::running(&data.path()) {
                left.stop(rustix::process::Signal::QUIT, std::time::Duration::from_secs(5)).await;
            }
        }
        // Another process may be sweeping the same folder.
        cluster::remove(&entry.path()).ok();
    }
    Ok(())
}

/// `temporary-<pid>-<start time>-<random>` names the process that made it.
fn owner_of(folder: &str) -> Option<process::Identity> {
    let mut parts = folder.strip_prefix("temporary-")?.split('-');
    Some(process::Identity { pid: parts.next()?.parse().ok()?, started: parts.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_old_databases_are_old() {
        assert!(is_old("twinpay_test_1000_0a1b2c3d", 1000 + KEPT_SECONDS + 1));
        assert!(!is_old("twinpay_test_1000_0a1b2c3d", 1000 + KEPT_SECONDS));
        assert!(!is_old("twinpay_test_1000_mine", 1_000_000));
        assert!(!is_old("twinpay_test_data", 1_000_000));
    }

    #[test]
    fn all_databases_of_a_server_have_one_service_password() {
        let one = service_password("postgres://o:p@127.0.0.1:1/a").expect("a URL");
        assert_eq!(one, service_password("postgres://o:p@127.0.0.1:1/b").expect("a URL"));
        assert_ne!(one, service_password("postgres://o:q@127.0.0.1:1/b").expect("a URL"));
    }

    #[test]
    fn a_temporary_folder_names_its_process() {
        assert_eq!(owner_of("temporary-12-345-abc"), Some(process::Identity { pid: 12, started: 345 }));
        assert_eq!(owner_of("data-15"), None);
    }
}
