//! `stack up`: starts what isn't running, in order, and says where it is. What was started is stopped again if something
//! fails or the start is interrupted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::binaries::{self, Build};
use crate::error::{Error, Result};
use crate::folders;
use crate::instance::{AcquirerOptions, Instance, Twin, TwinOptions};
use crate::migrate::{self, Database};
use crate::parts::{self, NAMES, Part, Parts, State};
use crate::postgres::{Durability, Options, Postgres};
use crate::process::{Identity, Life};
use crate::secrets::{self, Secrets};
use crate::settings::{self, AllPorts, Port, check_free};
use crate::stack_json::{self, Acquirer, Server, Stack, Twins};
use crate::status;
use crate::terminal::{self, say};

/// A running part that doesn't answer gets this long to end.
const REPLACE_LIMIT: Duration = Duration::from_secs(12);

/// What the start of a stack works with.
struct Start {
    folder: PathBuf,
    ports: AllPorts,
    secrets: Secrets,
    parts: Parts,
    /// What this run has started: stopped when dropped, unless it is let go.
    started: Vec<Started>,
}

enum Started {
    Postgres(Postgres),
    Instance(Instance),
}

/// Starts what isn't running.
pub async fn up() -> Result<()> {
    let begun = Instant::now();
    let folder = folders::stack_folder()?;
    let _lock = parts::lock(&folder)?;
    let mut parts = Parts::read(&folder)?;
    let states = parts.states().await;
    // Without the file an earlier start was killed at its very end: it is written below.
    if states == [State::Up; 4] && stack_json::read()?.is_some() {
        say(format_args!("already up ({:.1} s)", begun.elapsed().as_secs_f64()));
        status::tell_outdated(&parts);
        return status::print_addresses(&folder);
    }
    report(&parts, states);
    replace_unready(&parts, states).await;
    parts.0.retain(|_, part| part.process.alive());

    let secrets = Secrets::read_or_make(&folder)?;
    // It tells of processes that are gone or go now, and nothing tells so where this start fails or is killed.
    stack_json::remove()?;
    let mut start =
        Start { folder: folder.clone(), ports: AllPorts::from_env()?, secrets, parts, started: Vec::new() };
    let result = tokio::select! {
        result = start.run() => result,
        () = interrupted() => Err(Error::Other("interrupted: what was started is stopped again".into())),
    };
    match result {
        Ok(()) => {
            for started in std::mem::take(&mut start.started) {
                match started {
                    Started::Postgres(server) => server.release(),
                    Started::Instance(instance) => instance.release(),
                }
            }
            say(format_args!("up in {:.1} s", begun.elapsed().as_secs_f64()));
            status::tell_outdated(&start.parts);
            status::print_addresses(&folder)
        }
        Err(error) => {
            say(format_args!(""));
            start.undo().await;
            Err(error)
        }
    }
}

/// Says what an earlier stack has lost.
fn report(parts: &Parts, states: [State; 4]) {
    if parts.0.is_empty() {
        return;
    }
    for (name, state) in NAMES.into_iter().zip(states) {
        match (state, parts.0.get(name)) {
            (State::Dead | State::Unready, Some(part)) => {
                say(format_args!(
                    "{name} is {}; starting it again (its log: {})",
                    state.name(),
                    part.log.display()
                ));
            }
            _ => say(format_args!("{name} is {}", state.name())),
        }
    }
}

async fn replace_unready(parts: &Parts, states: [State; 4]) {
    for (name, state) in NAMES.into_iter().zip(states) {
        if let (State::Unready, Some(part)) = (state, parts.0.get(name)) {
            part.process.stop(status::stop_signal(name), REPLACE_LIMIT).await;
        }
    }
}

impl Start {
    async fn run(&mut self) -> Result<()> {
        self.check()?;
        let server_url = self.postgres().await?;
        let rust = self.database(&server_url, Twin::Rust).await?;
        let go = self.database(&server_url, Twin::Go).await?;
        let acquirer = self.acquirer().await?;
        self.twin(Twin::Rust, &rust, &acquirer).await?;
        self.twin(Twin::Go, &go, &acquirer).await?;
        stack_json::write(&Stack {
            admin_token: self.secrets.admin_token.clone(),
            twins: Twins { rust: self.entry("rust", &rust)?, go: self.entry("go", &go)? },
            acquirer: Acquirer { grpc: acquirer, pid: self.part("acquirer")?.process.pid },
            postgres: Server { url: server_url, pid: self.part("postgres")?.process.pid },
        })
    }

    /// Everything that can be known before anything is started. A part that runs keeps its ports, whatever is set now.
    fn check(&self) -> Result<()> {
        binaries::rust()?;
        binaries::go()?;
        binaries::acquirer()?;
        let ports = |name: &str| match name {
            "postgres" => vec![self.ports.postgres],
            "acquirer" => vec![self.ports.acquirer],
            "rust" => self.ports.rust.to_vec(),
            _ => self.ports.go.to_vec(),
        };
        NAMES
            .into_iter()
            .filter(|name| !self.parts.0.contains_key(*name))
            .flat_map(ports)
            .try_for_each(check_free)
    }

    /// The owner's URL of the database `postgres`.
    async fn postgres(&mut self) -> Result<String> {
        let password = self.secrets.owner_password.clone();
        if let Some(part) = self.parts.0.get("postgres") {
            return Ok(crate::urls::local(crate::cluster::OWNER, &password, part.probe.port(), "postgres"));
        }
        let log = self.log("postgres");
        let options = Options {
            folder: folders::data_folder()?,
            temporary: false,
            port: Some(self.ports.postgres.port),
            password,
            durability: Durability::Safe,
            life: Life::Detached,
            cpus: Vec::new(),
            log: Some(log.clone()),
        };
        let begun = begin("postgres");
        let port = self.ports.postgres;
        let say = |text: &str| terminal::begin(format_args!("{text}: "));
        let spawned = |process, _| self.note("postgres", process, &[port], port, &log);
        let server = Postgres::start_telling(options, say, spawned).await?;
        let url = server.url("postgres");
        self.started.push(Started::Postgres(server));
        ready(begun);
        Ok(url)
    }

    async fn database(&self, server_url: &str, twin: Twin) -> Result<Database> {
        let name = format!("payments_{}", twin.name());
        migrate::migrated_database(server_url, &name, &self.secrets.service_password).await
    }

    /// Its address.
    async fn acquirer(&mut self) -> Result<String> {
        if let Some(part) = self.parts.0.get("acquirer") {
            return Ok(part.probe.to_string());
        }
        let log = self.log("acquirer");
        let port = self.ports.acquirer;
        // Beside the databases, which remember the same operations.
        let operations = folders::data_folder()?.join("acquirer.operations");
        let mut env = vec![("ACQUIRER_LOG".to_string(), operations.display().to_string())];
        env.extend(settings::passed_on("ACQUIRER_"));
        let options =
            AcquirerOptions { port: port.port, env, life: Life::Detached, ..AcquirerOptions::new(&log) };
        let begun = begin("acquirer");
        let spawned = |process| self.note("acquirer", process, &[port], port, &log);
        let instance = Instance::acquirer_telling(options, spawned).await?;
        let address = instance.grpc();
        self.started.push(Started::Instance(instance));
        ready(begun);
        Ok(address)
    }

    async fn twin(&mut self, twin: Twin, database: &Database, acquirer: &str) -> Result<()> {
        if self.parts.0.contains_key(twin.name()) {
            return Ok(());
        }
        let log = self.log(twin.name());
        let ports = self.ports.of(twin);
        let options = TwinOptions {
            ports: settings::numbers(ports),
            env: settings::passed_on("TWINPAY_"),
            life: Life::Detached,
            ..TwinOptions::new(twin, &database.service_url, acquirer, &self.secrets.credentials(), &log)
        };
        let begun = begin(twin.name());
        let spawned = |process| self.note(twin.name(), process, &ports, ports[2], &log);
        let instance = Instance::twin_telling(options, spawned).await?;
        self.started.push(Started::Instance(instance));
        ready(begun);
        Ok(())
    }

    /// Writes down what was started, ready or not: where we are killed now, `down` finds it.
    fn note(&mut self, name: &str, process: Identity, ports: &[Port], probe: Port, log: &Path) -> Result<()> {
        let probe = ([127, 0, 0, 1], probe.port).into();
        let ports = ports.iter().map(|port| port.port).collect();
        let part = Part { process, probe, ports, log: log.into(), build: Build::of(name) };
        self.parts.add(&self.folder, name, part)
    }

    fn part(&self, name: &str) -> Result<&Part> {
        self.parts.0.get(name).ok_or_else(|| Error::Other(format!("{name} isn't running")))
    }

    fn entry(&self, name: &str, database: &Database) -> Result<stack_json::Twin> {
        let part = self.part(name)?;
        let [http, grpc, admin] = part.ports[..] else {
            return Err(Error::Other(format!("{name} has {} ports instead of 3", part.ports.len())));
        };
        Ok(stack_json::Twin {
            http: format!("http://127.0.0.1:{http}"),
            grpc: format!("127.0.0.1:{grpc}"),
            admin: format!("http://127.0.0.1:{admin}"),
            pid: part.process.pid,
            database_url: database.owner_url.clone(),
        })
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Stops what this run has started, the last first.
    async fn undo(&mut self) {
        while let Some(started) = self.started.pop() {
            match started {
                Started::Instance(instance) => {
                    instance.stop().await;
                }
                // The server is gone either way; its folder stays.
                Started::Postgres(server) => server.stop().await.unwrap_or_default(),
            }
        }
        self.parts.0.retain(|_, part| part.process.alive());
        // The error that led here is the one to tell.
        self.parts.write(&self.folder).ok();
    }
}

/// The name comes before the wait, and the time behind it.
fn begin(name: &str) -> Instant {
    terminal::begin(format_args!("{name:<9} starting: "));
    Instant::now()
}

fn ready(begun: Instant) {
    say(format_args!("ready after {:.2} s", begun.elapsed().as_secs_f64()));
}

/// A line that works as it stands: a new merchant, on one of the twins.
pub(crate) fn curl(folder: &Path, http: &str) -> String {
    let header = secrets::header_path(folder);
    format!(
        "curl -sS -H @{} -H 'Content-Type: application/json' -d '{{\"name\": \"Corner shop\"}}' {http}/v1/merchants",
        header.display()
    )
}

/// SIGINT, SIGTERM or SIGHUP.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        // Without handlers the signals end us by themselves.
        return std::future::pending().await;
    };
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
}
