//! What can go wrong while the stack is handled: each error is one that a person can act on.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that names the part, and where it can, what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Postgres refused something.
    #[error("{what}: {source}")]
    Database {
        /// What was tried.
        what: String,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// A program isn't there.
    #[error("{path} is missing: build it with `{command}`, or name another by {variable}")]
    NotBuilt {
        /// Where it was looked for.
        path: PathBuf,
        /// What builds it.
        command: &'static str,
        /// The variable that overrides the path.
        variable: &'static str,
    },
    /// A process ended while it was waited for.
    #[error("{name} ended before it was ready ({status}); the end of {log}:\n{tail}")]
    Died {
        /// The part.
        name: String,
        /// Its exit status.
        status: String,
        /// Its log file.
        log: String,
        /// The last lines of the log.
        tail: String,
    },
    /// A process didn't become ready in time.
    #[error("{name} wasn't ready after {}; the end of {log}:\n{tail}", seconds(.waited))]
    Late {
        /// The part.
        name: String,
        /// How long it was waited for.
        waited: Duration,
        /// Its log file.
        log: String,
        /// The last lines of the log.
        tail: String,
    },
    /// Somebody else listens on a port that a part needs.
    #[error("port {port} for {name} is taken; free it, or choose another: {variable}=<port>")]
    PortTaken {
        /// The part.
        name: &'static str,
        /// The port.
        port: u16,
        /// The variable that sets it.
        variable: &'static str,
    },
    /// A variable has a value that can't be used.
    #[error("{0}")]
    Setting(String),
    /// Everything else, in one sentence.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// What a program that ends with this error exits with: 2 where another setting or a build helps, else 1.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Error::Setting(_) | Error::NotBuilt { .. } | Error::PortTaken { .. }) {
            2
        } else {
            1
        }
    }

    /// For `map_err`: an error of the system with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what: what.into(), source }
    }

    /// For `map_err`: an error of Postgres with what was tried.
    pub(crate) fn database(what: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Error {
        move |source| Error::Database { what: what.into(), source }
    }
}

fn seconds(waited: &Duration) -> String {
    format!("{:.1} s", waited.as_secs_f64())
}
