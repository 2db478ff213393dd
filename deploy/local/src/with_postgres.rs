//! `stack with-postgres -- COMMAND`: a Postgres for the time of one command.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Error, Result};
use crate::terminal::complain;
use crate::test_postgres::{VARIABLE, start_server};

/// Runs the command with `TEST_DATABASE_URL` set: to what it is already, else to a fast server that ends with it. The
/// exit code is the command's.
pub async fn run(command: &[String]) -> Result<u8> {
    let [program, args @ ..] = command else {
        return Err(Error::Other("with-postgres needs a command: stack with-postgres -- cargo test".into()));
    };
    if std::env::var_os(VARIABLE).is_some_and(|url| !url.is_empty()) {
        complain(format_args!("using the Postgres of {VARIABLE}"));
        return Ok(code(wait(Command::new(program).args(args), program).await?));
    }
    let starting = start_server();
    let server = tokio::select! {
        server = starting => server?,
        () = crate::up::interrupted() => return Err(Error::Other("interrupted".into())),
    };
    complain(format_args!("started a Postgres on port {} ({VARIABLE} isn't set)", server.port()));
    let status = wait(Command::new(program).args(args).env(VARIABLE, server.url("postgres")), program).await;
    server.stop().await?;
    status.map(code)
}

/// Runs it to its end, passing on what would end us.
async fn wait(command: &mut Command, program: &str) -> Result<ExitStatus> {
    let handler = |kind| signal(kind).map_err(Error::io("handling signals"));
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut terminate = handler(SignalKind::terminate())?;
    let mut hangup = handler(SignalKind::hangup())?;
    let mut child = command.spawn().map_err(Error::io(format!("running {program}")))?;
    loop {
        let signal = tokio::select! {
            status = child.wait() => return status.map_err(Error::io(format!("waiting for {program}"))),
            _ = interrupt.recv() => Signal::INT,
            _ = terminate.recv() => Signal::TERM,
            _ = hangup.recv() => Signal::HUP,
        };
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        // Gone already: then the next turn of the loop has its status.
        pid.map(|pid| kill_process(pid, signal).ok());
    }
}

/// As a shell has it: 128 and the signal's number.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}
