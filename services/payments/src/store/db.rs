//! Connections to Postgres: the pool, its limits and time-outs, the retry of serialisation failures, and what an error means for
//! the caller. A connection whose statement didn't finish is closed, never reused: its answer would be taken for the next one's.

use std::{sync::Arc, time::Duration};

use deadpool::managed::{
    self, Metrics as PoolMetrics, Object, PoolConfig, PoolError, QueueMode, RecycleResult, Timeouts,
};
use opentelemetry::KeyValue;
use sqlx::{
    ConnectOptions as _, Connection as _, IntoArguments, PgConnection, Postgres,
    postgres::{PgConnectOptions, PgRow},
    query::Map,
};
use tokio::{sync::watch, time::Instant};
use tracing::warn;

use crate::{
    domain::{
        error::{Cause, Error},
        id::PaymentId,
    },
    telemetry::{Call, Metrics, chain, spans},
};

/// How often a statement is run in all that Postgres undoes for another's sake.
const MAX_ATTEMPTS: u32 = 3;
/// How long a new connection may take, whatever the caller's deadline.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// More than there are statements, so that none is ever prepared twice on one connection.
const STATEMENT_CACHE: usize = 64;

/// Makes connections; the pool does nothing between two uses of one.
pub struct Manager(PgConnectOptions);

impl managed::Manager for Manager {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        self.0.connect().await
    }

    async fn recycle(&self, _: &mut PgConnection, _: &PoolMetrics) -> RecycleResult<sqlx::Error> {
        Ok(())
    }
}

/// How a step failed, in what matters to its caller.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A named constraint; the whole statement is undone.
    #[error("constraint {0}")]
    Constraint(String),
    /// No connection in time, or none at all: nothing was sent.
    #[error("no connection")]
    NoConnection(#[source] Cause),
    /// The deadline passed before anything was sent.
    #[error("the deadline passed before a statement was sent")]
    Late,
    /// Sent, and the deadline passed or the connection broke before an answer.
    #[error("a statement without an answer")]
    Unclear(#[source] Cause),
    /// Postgres undid it because of load or a fault of its own, not because of the statement.
    #[error("a statement was undone")]
    Undone(#[source] Cause),
    /// Postgres says that it is wrong: a bug.
    #[error("a statement is wrong")]
    Broken(#[source] Cause),
}

impl Failure {
    /// Of a statement that writes nothing.
    pub fn reading(self) -> Error {
        match self {
            Self::Unclear(cause) if cause.is::<Overdue>() => Error::DeadlineExceeded,
            Self::NoConnection(cause) | Self::Unclear(cause) | Self::Undone(cause) => {
                Error::Overloaded(Some(cause))
            }
            Self::Late => Error::DeadlineExceeded,
            Self::Constraint(name) => Error::Internal(name.into()),
            Self::Broken(cause) => Error::Internal(cause),
        }
    }

    /// Of a request's first write; `payment` is what it would have been about.
    pub fn writing(self, payment: Option<PaymentId>) -> Error {
        match self {
            Self::NoConnection(cause) | Self::Undone(cause) => Error::Overloaded(Some(cause)),
            Self::Late => Error::DeadlineExceeded,
            Self::Unclear(cause) => Error::OutcomeUnknown(payment, Some(cause)),
            Self::Constraint(name) => Error::Internal(name.into()),
            Self::Broken(cause) => Error::Internal(cause),
        }
    }

    /// Of any statement after a claim: whatever went wrong, the recovery finishes it.
    pub fn claimed(self, payment: PaymentId) -> Error {
        let cause = match self {
            Self::Constraint(name) => name.into(),
            Self::Late => Overdue.into(),
            Self::NoConnection(cause) | Self::Unclear(cause) | Self::Undone(cause) | Self::Broken(cause) => {
                cause
            }
        };
        Error::OutcomeUnknown(Some(payment), Some(cause))
    }
}

/// The client's side of a time-out.
#[derive(Debug, thiserror::Error)]
#[error("the deadline passed while a statement ran")]
struct Overdue;

/// Shed: all connections stay busy, or a new one takes too long.
#[derive(Debug, thiserror::Error)]
#[error("no connection in time")]
struct WaitOver;

/// A row that the statement's comment doesn't allow: a bug, not an outcome.
pub fn broken(statement: &'static str) -> Failure {
    Failure::Broken(format!("{statement}: a row that its comment doesn't allow").into())
}

/// Which statement, for whom.
pub struct Step<'a> {
    /// Deadline and parent span; none: no span in any trace.
    pub call: &'a Call,
    /// The name of the SQL file.
    pub statement: &'static str,
    /// How long to wait for a connection: bounded where shedding is still harmless.
    pub first: bool,
    /// Whether the statement shows in the request's trace.
    pub traced: bool,
}

impl<'a> Step<'a> {
    /// A request's first statement, which may be shed.
    pub fn first(call: &'a Call, statement: &'static str) -> Self {
        Self { call, statement, first: true, traced: true }
    }

    /// A statement after something was done.
    pub fn later(call: &'a Call, statement: &'static str) -> Self {
        Self { call, statement, first: false, traced: true }
    }

    /// A first statement outside of the request's trace.
    pub fn untraced(call: &'a Call, statement: &'static str) -> Self {
        Self { call, statement, first: true, traced: false }
    }

    /// A statement that belongs to no request.
    pub fn background(call: &'a Call, statement: &'static str) -> Self {
        Self { call, statement, first: false, traced: false }
    }
}

/// A pool of connections.
#[derive(Clone)]
pub struct Db {
    pool: managed::Pool<Manager>,
    wait: Duration,
    metrics: Arc<Metrics>,
    /// Turned on when the schema is seen to be another; nobody turns it off.
    mismatch: Arc<watch::Sender<bool>>,
}

impl Db {
    /// Connects to nothing yet. `name` tells the pools apart in metrics.
    pub fn new(
        name: &'static str,
        url: &str,
        connections: usize,
        wait: Duration,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Cause> {
        let options = url
            .parse::<PgConnectOptions>()?
            .application_name("payments")
            .statement_cache_capacity(STATEMENT_CACHE)
            .disable_statement_logging();
        let config = PoolConfig { queue_mode: QueueMode::Lifo, ..PoolConfig::new(connections) };
        let pool = managed::Pool::builder(Manager(options))
            .config(config)
            .runtime(deadpool::Runtime::Tokio1)
            .build()?;
        let watched = pool.clone();
        metrics.watch_pool(name, move || {
            let status = watched.status();
            u64::try_from(status.size - status.available.min(status.size)).unwrap_or(0)
        });
        Ok(Self { pool, wait, metrics, mismatch: Arc::new(watch::Sender::new(false)) })
    }

    /// Ends when the schema was seen to be missing or another.
    pub async fn schema_mismatch(&self) {
        // It can't be closed: we hold the sender.
        let _ = self.mismatch.subscribe().wait_for(|seen| *seen).await;
    }

    /// Runs one statement to its end, which is after its commit, and returns its rows. `make` is called again for each retry.
    pub async fn rows<'q, T, F, A>(
        &self,
        step: Step<'_>,
        make: impl Fn() -> Map<'q, Postgres, F, A>,
    ) -> Result<Vec<T>, Failure>
    where
        F: FnMut(PgRow) -> Result<T, sqlx::Error> + Send,
        T: Send + Unpin,
        A: 'q + Send + IntoArguments<Postgres>,
    {
        let span =
            if step.traced { spans::database(step.call, step.statement) } else { tracing::Span::none() };
        let began = Instant::now();
        let connection = self.connection(&step).await;
        let connected = Instant::now();
        let wait = connected - began;
        self.metrics.db_wait.record(wait.as_secs_f64(), &[]);
        span.record("twinpay.db_wait_ms", wait.as_secs_f64() * 1000.0);
        let mut held = match connection {
            Ok(connection) => Held { connection: Some(connection), finished: false },
            Err(failure) => {
                spans::fail(&span, "no_connection");
                if step.first && matches!(&failure, Failure::NoConnection(cause) if cause.is::<WaitOver>()) {
                    self.metrics.rejected.add(1, &[KeyValue::new("reason", "database_wait")]);
                }
                return Err(failure);
            }
        };

        let mut attempt = 0;
        let result = loop {
            attempt += 1;
            let Some(connection) = held.connection.as_deref_mut() else {
                return Err(broken(step.statement));
            };
            held.finished = false;
            let result = match tokio::time::timeout_at(step.call.deadline, make().fetch_all(connection)).await
            {
                Err(_) => Err(Failure::Unclear(Overdue.into())),
                Ok(Ok(rows)) => {
                    held.finished = true;
                    Ok(rows)
                }
                Ok(Err(error)) => {
                    held.finished = reusable(&error);
                    if is_serialisation_failure(&error) && attempt < MAX_ATTEMPTS {
                        continue;
                    }
                    Err(self.failure(error))
                }
            };
            break result;
        };
        self.finish(&span, &step, connected, result.as_ref().err());
        result
    }

    fn finish(&self, span: &tracing::Span, step: &Step<'_>, began: Instant, failure: Option<&Failure>) {
        let seconds = began.elapsed().as_secs_f64();
        let system = KeyValue::new("db.system.name", "postgresql");
        let summary = KeyValue::new("db.query.summary", step.statement);
        match failure {
            None => self.metrics.db_duration.record(seconds, &[system, summary]),
            Some(failure) => {
                let kind = match failure {
                    Failure::Constraint(_) => "constraint",
                    Failure::NoConnection(_) => "no_connection",
                    Failure::Late => "late",
                    Failure::Unclear(_) => "unclear",
                    Failure::Undone(_) => "undone",
                    Failure::Broken(_) => "broken",
                };
                spans::fail(span, kind);
                self.metrics
                    .db_duration
                    .record(seconds, &[system, summary, KeyValue::new("error.type", kind)]);
            }
        }
    }

    async fn connection(&self, step: &Step<'_>) -> Result<Object<Manager>, Failure> {
        let rest = step.call.deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(Failure::Late);
        }
        let wait = if step.first { rest.min(self.wait) } else { rest };
        let timeouts = Timeouts { wait: Some(wait), create: Some(rest.min(CONNECT_LIMIT)), recycle: None };
        let pool = self.pool.clone();
        let mut getting = Box::pin(async move { pool.timeout_get(&timeouts).await });
        let Ok(got) = tokio::time::timeout(wait, &mut getting).await else {
            // A connect that is slow and good is for the next one; what only waited ends by itself.
            tokio::spawn(getting);
            return Err(if step.call.is_over() {
                Failure::Late
            } else {
                Failure::NoConnection(WaitOver.into())
            });
        };
        got.map_err(|error| match error {
            PoolError::Timeout(_) if step.call.is_over() => Failure::Late,
            PoolError::Timeout(_) => Failure::NoConnection(WaitOver.into()),
            PoolError::Backend(error) => {
                warn!(error = %chain(&error), "can't connect to the database");
                Failure::NoConnection(error.into())
            }
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Failure::NoConnection(error.to_string().into())
            }
        })
    }

    fn failure(&self, error: sqlx::Error) -> Failure {
        let Some(database) = error.as_database_error() else {
            let ours = matches!(
                error,
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_)
            );
            return if ours { Failure::Broken(error.into()) } else { Failure::Unclear(error.into()) };
        };
        if let Some(constraint) = database.constraint() {
            return Failure::Constraint(constraint.to_owned());
        }
        match database.code().as_deref().unwrap_or_default() {
            UNDEFINED_TABLE => {
                self.mismatch.send_replace(true);
                Failure::Broken(error.into())
            }
            // Time-outs of statements and locks, serialisation, resources, read-only: the statement is undone.
            "57014" | "55P03" | "40001" | "40P01" | "25006" | "53000" | "53100" | "53200" | "53300"
            | "53400" => Failure::Undone(error.into()),
            // The backend goes: it may have committed before it did.
            code if is_ending(code) => Failure::Unclear(error.into()),
            _ => Failure::Broken(error.into()),
        }
    }
}

const UNDEFINED_TABLE: &str = "42P01";

fn is_serialisation_failure(error: &sqlx::Error) -> bool {
    matches!(error.as_database_error().and_then(|e| e.code()).as_deref(), Some("40001" | "40P01"))
}

/// Whether a SQLSTATE says that the connection ends with it.
fn is_ending(code: &str) -> bool {
    code.starts_with("57P") || code.starts_with("08")
}

/// Whether the connection lives on after this error: Postgres has answered, and isn't ending it.
fn reusable(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        Some(database) => !is_ending(&database.code().unwrap_or_default()),
        None => matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)),
    }
}

/// Gives a connection back, or closes it if its statement didn't finish: the future may be dropped at any await.
struct Held {
    connection: Option<Object<Manager>>,
    finished: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| !self.finished) {
            drop(Object::take(connection));
        }
    }
}

/// Whether the database can be reached and has the schema that this program was built with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Schema {
    /// It has.
    Right,
    /// It hasn't: `payments migrate`, or another build.
    Wrong,
    /// Nobody knows yet.
    Unseen,
}

/// The version of the schema that this program was built with: that of the last migration.
pub const SCHEMA_VERSION: i32 = 7;

impl Db {
    /// Looks at the schema, and reports a mismatch.
    pub async fn see_schema(&self, call: &Call) -> Schema {
        let step = Step::background(call, "get_schema_version");
        let make = || sqlx::query_file!("../../db/queries/get_schema_version.sql");
        let schema = match self.rows(step, make).await.as_deref() {
            Ok([row]) if row.version == SCHEMA_VERSION => Schema::Right,
            Ok(_) => Schema::Wrong,
            Err(_) if *self.mismatch.borrow() => Schema::Wrong,
            Err(_) => Schema::Unseen,
        };
        if schema == Schema::Wrong {
            self.mismatch.send_replace(true);
        }
        schema
    }

    /// Ends idle connections in an orderly way, so that Postgres logs no lost client.
    pub async fn drain(&self) {
        for object in self.pool.retain(|_, _| false).removed {
            let _ = object.close().await;
        }
        self.pool.close();
    }
}
