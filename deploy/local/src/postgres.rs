//! A Postgres server of our own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;
use rand::distr::Alphanumeric;
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::cluster;
use crate::error::{Error, Result};
use crate::folders;
use crate::postgres_bin;
use crate::process::{Identity, Launch, Life, Process};
use crate::server::SERVER;
use crate::terminal::complain;
use crate::test_postgres;
use crate::urls;

pub use crate::cluster::OWNER;
pub use crate::postgres_bin::VARIABLE as BINARIES_VARIABLE;

/// After a crash, recovery reads up to `max_wal_size` of log before the server answers.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A fast shutdown writes a checkpoint.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// One connection, from the first packet to the login.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A second try follows where the free port was taken meanwhile, or the data folder knew another password.
const START_TRIES: usize = 4;

/// What a crash may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: every commit is on the disk. For `up` and for load, where that is part of the price.
    Safe,
    /// Everything: for tests, whose data nobody wants back.
    None,
}

/// How to run a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder's parent, which must let another user in; the data is in `data-<major version>` below it.
    pub folder: PathBuf,
    /// Remove `folder` when the server stops.
    pub temporary: bool,
    /// None: a free one.
    pub port: Option<u16>,
    /// The owner's password. An existing data folder gets it.
    pub password: String,
    /// What a crash may cost.
    pub durability: Durability,
    /// Whether it ends with us.
    pub life: Life,
    /// Cores to run on; empty: any.
    pub cpus: Vec<usize>,
    /// Where it logs; None: `postgres.log` in `folder`.
    pub log: Option<PathBuf>,
}

impl Options {
    /// A server with a folder of its own that is removed when it stops, on a free port, tied to this process.
    pub fn temporary(durability: Durability) -> Result<Options> {
        let me = Identity::of(std::process::id()).map_or(0, |identity| identity.started);
        let name = format!("temporary-{}-{me}-{}", std::process::id(), random_text(6));
        Ok(Options {
            folder: folders::shared_folder()?.join(name),
            temporary: true,
            port: None,
            password: random_text(24),
            durability,
            life: Life::Tied,
            cpus: Vec::new(),
            log: None,
        })
    }
}

/// A running server. Dropping it kills a tied one without a checkpoint, which Postgres recovers from.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    port: u16,
    password: String,
    folder: PathBuf,
    temporary: bool,
    /// False once the process isn't ours to end any more.
    owned: bool,
}

impl Postgres {
    /// Starts a server and waits until it answers.
    pub async fn start(options: Options) -> Result<Postgres> {
        Postgres::start_saying(options, |text| complain(format_args!("{text}"))).await
    }

    /// The same; `say` is told before something that takes long.
    pub async fn start_saying(options: Options, say: impl Fn(&str)) -> Result<Postgres> {
        Postgres::start_telling(options, say, |_, _| Ok(())).await
    }

    /// The same; `spawned` is told of each process and its port before it answers. Where that fails it is killed.
    pub(crate) async fn start_telling(
        options: Options,
        say: impl Fn(&str),
        mut spawned: impl FnMut(Identity, u16) -> Result<()>,
    ) -> Result<Postgres> {
        let mut unfinished = Unfinished(None);
        if options.temporary {
            test_postgres::sweep_folders().await?;
            unfinished.0 = Some(options.folder.clone());
        }
        let programs = postgres_bin::find(&say).await?;
        let user = folders::unprivileged_user()?;
        std::fs::create_dir_all(&options.folder)
            .map_err(Error::io(format!("making {}", options.folder.display())))?;
        if user.is_some() {
            folders::let_others_in(&options.folder)?;
        }
        let data = options.folder.join(format!("data-{}", programs.major));
        cluster::make(&programs, &data, &options.password, user).await?;
        cluster::clear(&data).await?;
        for _ in 0..START_TRIES {
            let port = options.port.map_or_else(free_port, Ok)?;
            let launch = Launch {
                name: "postgres".into(),
                program: programs.folder.join("postgres"),
                args: arguments(&data, port, options.durability),
                env: Vec::new(),
                user,
                cpus: options.cpus.clone(),
                log: options.log.clone().unwrap_or_else(|| options.folder.join("postgres.log")),
                life: options.life,
                death_signal: "QUIT",
            };
            let process = Process::start(&launch)?;
            let (password, folder) = (options.password.clone(), options.folder.clone());
            let mut server =
                Postgres { process, port, password, folder, temporary: options.temporary, owned: true };
            spawned(server.identity(), port)?;
            match server.wait().await {
                Ok(()) => {
                    unfinished.0 = None;
                    return Ok(server);
                }
                Err(Wait::Password) => {
                    server.process.stop(Signal::INT, STOP_LIMIT).await;
                    server.owned = false;
                    cluster::set_password(&programs, &data, &options.password, user).await?;
                }
                Err(Wait::Failed(_)) if options.port.is_none() && server.port_was_taken() => {
                    server.owned = false
                }
                Err(Wait::Failed(error)) => return Err(error),
            }
        }
        Err(Error::Other(format!("Postgres didn't start on {} in {START_TRIES} tries", data.display())))
    }

    /// The owner's URL of a database of this server (`postgres` is always there).
    pub fn url(&self, database: &str) -> String {
        urls::local(OWNER, &self.password, self.port, database)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The pid of the postmaster.
    pub fn pid(&self) -> u32 {
        self.process.identity.pid
    }

    /// The postmaster by pid and start time.
    pub fn identity(&self) -> Identity {
        self.process.identity
    }

    /// Makes an empty database, unless it is there; false where it was. Returns with the owner's right on it.
    pub async fn create_database(&self, name: &str) -> Result<bool> {
        create_database(&self.url("postgres"), name).await
    }

    /// A fast shutdown: open connections are closed, a checkpoint is written. Removes a temporary folder.
    pub async fn stop(mut self) -> Result<()> {
        self.process.stop(Signal::INT, STOP_LIMIT).await;
        self.owned = false;
        if self.temporary { cluster::remove(&self.folder) } else { Ok(()) }
    }

    /// Lets it run on when this handle goes.
    pub fn release(mut self) {
        self.owned = false;
        self.temporary = false;
    }

    async fn wait(&mut self) -> std::result::Result<(), Wait> {
        let url = self.url("postgres");
        let probe = async || match connect(&url).await {
            Ok(connection) => {
                connection.close().await.ok();
                Some(Ok(()))
            }
            Err(error) => wrong_password(&error).then_some(Err(Wait::Password)),
        };
        self.process.wait_until(START_LIMIT, probe).await.map_err(Wait::Failed)?
    }

    fn port_was_taken(&self) -> bool {
        self.process.tail().contains("could not bind")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.owned {
            // Immediate shutdown: the backends go too, which a kill of the postmaster alone would leave to them.
            self.process.identity.signal(Signal::QUIT);
            let deadline = std::time::Instant::now() + Duration::from_secs(5);
            while self.process.exit_status().is_none() && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            self.process.kill();
            if self.temporary {
                cluster::remove(&self.folder).ok();
            }
        }
    }
}

/// A temporary folder whose server doesn't run yet: removed where the start fails or is given up.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What a killed initdb still writes can get in the way; the next sweep has the rest.
        self.0.take().map(|folder| (0..5).any(|_| cluster::remove(&folder).is_ok()));
    }
}

enum Wait {
    /// The data folder knows another password.
    Password,
    Failed(Error),
}

/// Settings go by the command line, so that an old data folder gets them too.
fn arguments(data: &std::path::Path, port: u16, durability: Durability) -> Vec<String> {
    let here =
        ["listen_addresses=127.0.0.1".into(), format!("port={port}"), "unix_socket_directories=".into()];
    let careless: &[String] = if durability == Durability::None { &SERVER.careless } else { &[] };
    let settings = here.iter().chain(&SERVER.settings).chain(careless);
    let pairs = settings.flat_map(|setting| ["-c".into(), setting.clone()]);
    ["-D".into(), data.display().to_string()].into_iter().chain(pairs).collect()
}

/// The program that a server here is: it is downloaded where there is none, which `say` is told before.
pub async fn program(say: impl Fn(&str)) -> Result<PathBuf> {
    Ok(postgres_bin::find(say).await?.folder.join("postgres"))
}

/// Makes an empty database on the server of `url`, unless it is there; false where it was.
pub async fn create_database(url: &str, name: &str) -> Result<bool> {
    let doing = || format!("making the database {name}");
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Err(Error::Other(format!("{name:?} isn't a database's name: only a-z, 0-9 and _")));
    }
    let mut connection = connect(url).await.map_err(Error::database(doing()))?;
    // The name can't be a parameter; it holds nothing to quote.
    let statement = AssertSqlSafe(format!("create database {name}"));
    let result = sqlx::raw_sql(statement).execute(&mut connection).await;
    connection.close().await.ok();
    match result {
        Ok(_) => Ok(true),
        Err(error) if has_code(&error, "42P04") => Ok(false),
        Err(error) => Err(Error::database(doing())(error)),
    }
}

/// One connection, without logging of statements. Bounded: what listens on the port may be no Postgres and say nothing.
pub(crate) async fn connect(url: &str) -> std::result::Result<PgConnection, sqlx::Error> {
    let options: sqlx::postgres::PgConnectOptions = url.parse()?;
    let options = options.disable_statement_logging();
    tokio::time::timeout(CONNECT_LIMIT, options.connect())
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

fn wrong_password(error: &sqlx::Error) -> bool {
    has_code(error, "28P01")
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|found| found == code)
}

/// A port that nobody listens on now.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("looking for a free port"))?;
    Ok(listener.local_addr().map_err(Error::io("looking for a free port"))?.port())
}

/// Letters and digits out of the system's randomness.
pub(crate) fn random_text(length: usize) -> String {
    rand::rng().sample_iter(&Alphanumeric).take(length).map(char::from).collect()
}
