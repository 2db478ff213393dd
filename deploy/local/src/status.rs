//! `stack status` and `stack down`: what is running, and the end of it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cluster;
use crate::error::{Error, Result};
use crate::folders;
use crate::parts::{self, NAMES, Part, Parts, State};
use crate::stack_json;
use crate::terminal::say;
use crate::up;

/// A service drains for up to 10 s; Postgres writes a checkpoint.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// The twins' limit: a drain of 10 s and some.
const DRAIN_LIMIT: Duration = Duration::from_secs(12);

/// True where everything is up.
pub async fn is_up() -> Result<bool> {
    let folder = folders::stack_folder()?;
    Ok(Parts::read(&folder)?.states().await == [State::Up; 4])
}

/// Prints each part's state; true where everything is up.
pub async fn print() -> Result<bool> {
    let folder = folders::stack_folder()?;
    let parts = Parts::read(&folder)?;
    let states = parts.states().await;
    if states == [State::Absent; 4] {
        say(format_args!("nothing is running: make up"));
        return Ok(false);
    }
    say(format_args!("{:<9} {:<12} {:>8}  {:<18} log", "part", "state", "pid", "ports"));
    for (name, state) in NAMES.into_iter().zip(states) {
        let (pid, ports, log) = parts.0.get(name).map_or_else(Default::default, |part| {
            let ports: Vec<String> = part.ports.iter().map(u16::to_string).collect();
            (part.process.pid.to_string(), ports.join(" "), part.log.display().to_string())
        });
        say(format_args!("{name:<9} {:<12} {pid:>8}  {ports:<18} {log}", state.name()));
    }
    tell_outdated(&parts);
    let all = states == [State::Up; 4];
    if !all {
        say(format_args!("not everything is up: `make up` starts what is missing"));
    }
    Ok(all)
}

/// Says so where programs run that are older than the built ones.
pub(crate) fn tell_outdated(parts: &Parts) {
    let names = parts.outdated();
    if !names.is_empty() {
        say(format_args!(
            "older than the built programs: {}; `make down && make up` renews them",
            names.join(", ")
        ));
    }
}

/// Prints where everything is, and a line to try.
pub fn print_addresses(folder: &Path) -> Result<()> {
    let Some(stack) = stack_json::read()? else {
        return Err(Error::Other(format!("{} has no stack.json: make down && make up", folder.display())));
    };
    say(format_args!(""));
    say(format_args!("          {:<24} {:<18} {:<24} pid", "HTTP", "gRPC", "admin"));
    for (name, twin) in [("rust", &stack.twins.rust), ("go", &stack.twins.go)] {
        say(format_args!("{name:<9} {:<24} {:<18} {:<24} {}", twin.http, twin.grpc, twin.admin, twin.pid));
    }
    say(format_args!(
        "{:<9} {:<24} {:<18} {:<24} {}",
        "acquirer", "", stack.acquirer.grpc, "", stack.acquirer.pid
    ));
    say(format_args!(
        "{:<9} 127.0.0.1:{}, databases payments_rust and payments_go; URLs in {}",
        "postgres",
        port(&stack.postgres.url),
        folder.join("stack.json").display()
    ));
    say(format_args!(
        "\nlogs: {}/*.log\ntry:  {}",
        folder.display(),
        up::curl(folder, &stack.twins.rust.http)
    ));
    Ok(())
}

fn port(url: &str) -> String {
    url::Url::parse(url).ok().and_then(|url| url.port()).map(|port| port.to_string()).unwrap_or_default()
}

/// Stops everything that `up` started, the other way round.
pub async fn down() -> Result<()> {
    let begun = Instant::now();
    let folder = folders::stack_folder()?;
    let _lock = parts::lock(&folder)?;
    let parts = Parts::read(&folder)?;
    let get = |name: &str| parts.0.get(name);
    let (rust, go) = tokio::join!(stop("rust", get("rust")), stop("go", get("go")));
    let acquirer = stop("acquirer", get("acquirer")).await;
    let postgres = stop("postgres", get("postgres")).await;
    let stray = stop_stray_postgres().await?;
    stack_json::remove_file(&folder.join("parts.json"))?;
    stack_json::remove()?;
    if rust || go || acquirer || postgres || stray {
        say(format_args!(
            "down in {:.1} s; the data stays in {}",
            begun.elapsed().as_secs_f64(),
            folders::data_folder()?.display()
        ));
    } else {
        say(format_args!("nothing was running"));
    }
    Ok(())
}

/// What ends a part in good order. For Postgres SIGINT is the fast shutdown; on SIGTERM it would wait for its clients.
pub(crate) fn stop_signal(name: &str) -> Signal {
    if name == "postgres" { Signal::INT } else { Signal::TERM }
}

/// True where there was something to stop.
async fn stop(name: &str, part: Option<&Part>) -> bool {
    let Some(part) = part.filter(|part| part.process.alive()) else { return false };
    let begun = Instant::now();
    let limit = if name == "postgres" { STOP_LIMIT } else { DRAIN_LIMIT };
    let ended = part.process.stop(stop_signal(name), limit).await;
    let how = if ended { "stopped" } else { "killed: it didn't stop" };
    say(format_args!("{name:<9} {how} after {:.2} s", begun.elapsed().as_secs_f64()));
    true
}

/// A server on our data that `.stack/` knows nothing about: the folder was removed while it ran.
async fn stop_stray_postgres() -> Result<bool> {
    let folder = folders::data_folder()?;
    let mut found = false;
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        if let Some(server) = cluster::running(&entry.path()) {
            server.stop(Signal::INT, STOP_LIMIT).await;
            say(format_args!("postgres  stopped, that .stack/ didn't know of (pid {})", server.pid));
            found = true;
        }
    }
    Ok(found)
}
