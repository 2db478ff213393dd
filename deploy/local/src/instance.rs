//! One running twin, or one running card network: started with the ports, cores and settings that the caller wants.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::binaries;
use crate::error::Result;
use crate::process::{Identity, Launch, Life, Process};

/// From the start to the first 200 of `/readyz`. Far above the 150 and 250 ms that are wanted: a busy machine is no error.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// A drain may take 10 s.
const STOP_LIMIT: Duration = Duration::from_secs(12);
/// A probe's answer fits easily.
const PROBE_BYTES: u64 = 4096;
/// How long one probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// The two implementations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Twin {
    /// `services/payments`.
    Rust,
    /// `go-service`.
    Go,
}

impl Twin {
    /// Both, in the order in which everything lists them.
    pub const ALL: [Twin; 2] = [Twin::Rust, Twin::Go];

    /// `rust` or `go`, as in `stack.json`.
    pub fn name(self) -> &'static str {
        match self {
            Twin::Rust => "rust",
            Twin::Go => "go",
        }
    }

    /// Its program.
    pub fn binary(self) -> Result<PathBuf> {
        match self {
            Twin::Rust => binaries::rust(),
            Twin::Go => binaries::go(),
        }
    }

    /// Its program as `make build-tuned` makes it.
    pub fn tuned_binary(self) -> Result<PathBuf> {
        binaries::tuned(self)
    }
}

/// How to start a twin.
#[derive(Debug, Clone)]
pub struct TwinOptions {
    /// Which one.
    pub twin: Twin,
    /// The service role's.
    pub database_url: String,
    /// `host:port` of a card network.
    pub acquirer: String,
    /// The credential of the admin operations, at least 32 bytes.
    pub admin_token: String,
    /// 64 hex digits. Twins on one database need the same.
    pub pepper: String,
    /// 64 hex digits. Twins on one database need the same.
    pub webhook_master: String,
    /// Ports on 127.0.0.1; 0: any free one.
    pub ports: Ports,
    /// More variables, which win over those that follow from the rest.
    pub env: Vec<(String, String)>,
    /// Cores to run on from the first instruction; empty: any.
    pub cpus: Vec<usize>,
    /// Gets stdout and stderr, at its end.
    pub log: PathBuf,
    /// Whether it ends with us.
    pub life: Life,
    /// Another program than the usual one.
    pub program: Option<PathBuf>,
}

impl TwinOptions {
    /// A twin on free ports that ends with us.
    pub fn new(
        twin: Twin,
        database_url: &str,
        acquirer: &str,
        credentials: &Credentials,
        log: &Path,
    ) -> TwinOptions {
        TwinOptions {
            twin,
            database_url: database_url.into(),
            acquirer: acquirer.into(),
            admin_token: credentials.admin_token.clone(),
            pepper: credentials.pepper.clone(),
            webhook_master: credentials.webhook_master.clone(),
            ports: Ports::default(),
            env: Vec::new(),
            cpus: Vec::new(),
            log: log.into(),
            life: Life::Tied,
            program: None,
        }
    }
}

/// What both twins must share to serve the same merchants.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The credential of the admin operations.
    pub admin_token: String,
    /// The key of all card fingerprints, 64 hex digits.
    pub pepper: String,
    /// The key that webhook secrets are derived from, 64 hex digits.
    pub webhook_master: String,
}

impl Credentials {
    /// Fresh random ones.
    pub fn random() -> Credentials {
        let (pepper, webhook_master) = (random_key(), random_key());
        Credentials { admin_token: crate::postgres::random_text(40), pepper, webhook_master }
    }
}

/// 32 bytes as hex digits.
pub(crate) fn random_key() -> String {
    (0..32).map(|_| format!("{:02x}", rand::random::<u8>())).collect()
}

/// A twin's three ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ports {
    /// The HTTP door.
    pub http: u16,
    /// The gRPC door.
    pub grpc: u16,
    /// Health, version, metrics.
    pub admin: u16,
}

/// How to start a card network.
#[derive(Debug, Clone)]
pub struct AcquirerOptions {
    /// The port on 127.0.0.1; 0: any free one.
    pub port: u16,
    /// More variables, such as `ACQUIRER_LATENCY`.
    pub env: Vec<(String, String)>,
    /// Cores to run on from the first instruction; empty: any.
    pub cpus: Vec<usize>,
    /// Gets stdout and stderr, at its end.
    pub log: PathBuf,
    /// Whether it ends with us.
    pub life: Life,
    /// Another program than the usual one.
    pub program: Option<PathBuf>,
}

impl AcquirerOptions {
    /// A card network on a free port that ends with us.
    pub fn new(log: &Path) -> AcquirerOptions {
        AcquirerOptions {
            port: 0,
            env: Vec::new(),
            cpus: Vec::new(),
            log: log.into(),
            life: Life::Tied,
            program: None,
        }
    }
}

/// How to start any other program that writes a `listening` line with its addresses.
#[derive(Debug, Clone)]
pub struct ProgramOptions {
    /// For messages.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// What it gets.
    pub args: Vec<String>,
    /// Cores to run on from the first instruction; empty: any.
    pub cpus: Vec<usize>,
    /// Gets stdout and stderr, at its end.
    pub log: PathBuf,
}

/// A running part. Dropping it kills it, unless it was released.
#[derive(Debug)]
pub struct Instance {
    process: Process,
    addresses: Addresses,
    ready_after: Duration,
    owned: bool,
}

/// What the `listening` line of its log says. A card network has only the gRPC door.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Addresses {
    http_addr: Option<SocketAddr>,
    grpc_addr: Option<SocketAddr>,
    admin_addr: Option<SocketAddr>,
}

impl Instance {
    /// Starts a twin and waits until it is ready.
    pub async fn twin(options: TwinOptions) -> Result<Instance> {
        Instance::twin_telling(options, |_| Ok(())).await
    }

    /// The same; `spawned` is told of the process before it is ready. Where that fails the process is killed.
    pub(crate) async fn twin_telling(
        options: TwinOptions,
        spawned: impl FnOnce(Identity) -> Result<()>,
    ) -> Result<Instance> {
        let program = options.program.clone().map_or_else(|| options.twin.binary(), Ok)?;
        let mut env: Vec<(String, String)> = [
            ("TWINPAY_DATABASE_URL", options.database_url),
            ("TWINPAY_ACQUIRER_URL", format!("http://{}", options.acquirer)),
            ("TWINPAY_ADMIN_TOKEN", options.admin_token),
            ("TWINPAY_PEPPER", options.pepper),
            ("TWINPAY_WEBHOOK_MASTER", options.webhook_master),
            ("TWINPAY_HTTP_ADDR", format!("127.0.0.1:{}", options.ports.http)),
            ("TWINPAY_GRPC_ADDR", format!("127.0.0.1:{}", options.ports.grpc)),
            ("TWINPAY_ADMIN_ADDR", format!("127.0.0.1:{}", options.ports.admin)),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into();
        env.extend(options.env);
        let launch = Launch {
            name: options.twin.name().into(),
            program,
            args: vec!["serve".into()],
            env,
            user: None,
            cpus: options.cpus,
            log: options.log,
            life: options.life,
            death_signal: "KILL",
        };
        Instance::start(&launch, spawned).await
    }

    /// Starts a card network and waits until it listens.
    pub async fn acquirer(options: AcquirerOptions) -> Result<Instance> {
        Instance::acquirer_telling(options, |_| Ok(())).await
    }

    /// The same; `spawned` is told of the process before it listens. Where that fails the process is killed.
    pub(crate) async fn acquirer_telling(
        options: AcquirerOptions,
        spawned: impl FnOnce(Identity) -> Result<()>,
    ) -> Result<Instance> {
        let program = options.program.clone().map_or_else(binaries::acquirer, Ok)?;
        let mut env = vec![("ACQUIRER_ADDR".to_string(), format!("127.0.0.1:{}", options.port))];
        env.extend(options.env);
        let launch = Launch {
            name: "acquirer".into(),
            program,
            args: Vec::new(),
            env,
            user: None,
            cpus: options.cpus,
            log: options.log,
            life: options.life,
            death_signal: "KILL",
        };
        Instance::start(&launch, spawned).await
    }

    /// Starts another program, which ends with us, and waits until it listens.
    pub async fn program(options: ProgramOptions) -> Result<Instance> {
        let launch = Launch {
            name: options.name,
            program: options.program,
            args: options.args,
            env: Vec::new(),
            user: None,
            cpus: options.cpus,
            log: options.log,
            life: Life::Tied,
            death_signal: "KILL",
        };
        Instance::start(&launch, |_| Ok(())).await
    }

    async fn start(launch: &Launch, spawned: impl FnOnce(Identity) -> Result<()>) -> Result<Instance> {
        let process = Process::start(launch)?;
        let addresses = Addresses::default();
        // From here on the process is killed where starting fails or is given up.
        let mut instance = Instance { process, addresses, ready_after: Duration::ZERO, owned: true };
        spawned(instance.identity())?;
        let (log, start) = (instance.process.log.clone(), instance.process.log_start);
        let limit = READY_LIMIT;
        instance.addresses = instance.process.wait_until(limit, async || listening(&log, start)).await?;
        if let Some(admin) = instance.addresses.admin_addr {
            let probe = async || (get_status(admin, "/readyz").await == Some(200)).then_some(());
            instance.process.wait_until(limit, probe).await?;
        }
        instance.ready_after = instance.process.started_at.elapsed();
        Ok(instance)
    }

    /// `http://host:port` of the HTTP door; empty for a card network.
    pub fn http(&self) -> String {
        self.addresses.http_addr.map(|addr| format!("http://{addr}")).unwrap_or_default()
    }

    /// `host:port` of the gRPC door; empty where there is none.
    pub fn grpc(&self) -> String {
        self.addresses.grpc_addr.map(|addr| addr.to_string()).unwrap_or_default()
    }

    /// `http://host:port` of the admin port; empty for a card network.
    pub fn admin(&self) -> String {
        self.addresses.admin_addr.map(|addr| format!("http://{addr}")).unwrap_or_default()
    }

    /// The pid.
    pub fn pid(&self) -> u32 {
        self.process.identity.pid
    }

    /// The process by pid and start time.
    pub fn identity(&self) -> Identity {
        self.process.identity
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.process.log
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.process.tail()
    }

    /// From the start of the process to the first sign that it is ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Whether it still runs.
    pub fn alive(&self) -> bool {
        self.process.identity.alive()
    }

    /// Sends SIGTERM and waits for the drain; kills it after 12 s. False where it had to be killed.
    pub async fn stop(mut self) -> bool {
        self.process.stop(Signal::TERM, STOP_LIMIT).await
    }

    /// kill -9, and waits for the end.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Sends any other signal, such as STOP and CONT.
    pub fn signal(&self, signal: Signal) -> bool {
        self.process.identity.signal(signal)
    }

    /// Lets it run on when this handle goes.
    pub fn release(mut self) {
        self.owned = false;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.owned {
            self.process.kill();
        }
    }
}

/// The addresses in the newest `listening` line, once it is whole.
fn listening(log: &Path, start: u64) -> Option<Addresses> {
    let bytes = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(bytes.get(usize::try_from(start).ok()?..)?).into_owned();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).find_map(parse_listening)
}

/// `{"message":"listening","http_addr":…}`, whatever else the line has; tracing's JSON nests the members in `fields`.
fn parse_listening(line: &str) -> Option<Addresses> {
    let mut value: serde_json::Value = serde_json::from_str(line).ok()?;
    if let Some(fields) = value.get_mut("fields") {
        value = fields.take();
    }
    let says = |name| value.get(name).and_then(serde_json::Value::as_str) == Some("listening");
    (says("message") || says("msg")).then(|| serde_json::from_value(value.clone()).ok())?
}

/// The status of a GET; None where nothing answers. By hand: an HTTP client is a large dependency for one line.
pub(crate) async fn get_status(addr: SocketAddr, path: &str) -> Option<u16> {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reply = Vec::new();
        stream.take(PROBE_BYTES).read_to_end(&mut reply).await?;
        std::io::Result::Ok(reply)
    };
    let reply = tokio::time::timeout(PROBE_LIMIT, exchange).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&reply);
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_addresses_are_read_from_a_whole_listening_line() {
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("log");
        let old = "{\"message\":\"listening\",\"grpc_addr\":\"127.0.0.1:1\"}\n";
        let line = "{\"level\":\"info\",\"message\":\"listening\",\"http_addr\":\"127.0.0.1:5\",\
                    \"grpc_addr\":\"127.0.0.1:6\",\"admin_addr\":\"127.0.0.1:7\"}";
        fs::write(&log, format!("{old}plain words\n{line}")).expect("written");
        assert!(listening(&log, old.len() as u64).is_none(), "the line isn't whole yet");
        fs::write(&log, format!("{old}plain words\n{line}\n")).expect("written");
        let addresses = listening(&log, old.len() as u64).expect("whole");
        assert_eq!(addresses.grpc_addr.map(|addr| addr.port()), Some(6));
        assert_eq!(addresses.http_addr.map(|addr| addr.port()), Some(5));
    }

    #[test]
    fn nested_fields_and_slogs_name_are_read_too() {
        let nested = r#"{"fields":{"message":"listening","grpc_addr":"127.0.0.1:6"}}"#;
        assert!(parse_listening(nested).is_some());
        assert!(parse_listening(r#"{"msg":"listening","grpc_addr":"127.0.0.1:6"}"#).is_some());
        assert!(parse_listening(r#"{"message":"stopping","grpc_addr":"127.0.0.1:6"}"#).is_none());
    }
}
