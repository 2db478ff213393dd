//! The environment: one table, one struct, read once. Nothing else reads a variable; an error names the variable, what is wrong
//! with its value, and the bound.

use std::{fmt, net::SocketAddr, thread::available_parallelism, time::Duration};

use sqlx::postgres::PgConnectOptions;
use tracing::level_filters::LevelFilter;

use crate::domain::webhook::Targets;

const PREFIX: &str = "TWINPAY_";

/// What a variable holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// postgres:// or http://
    Url,
    /// host:port
    Address,
    /// Visible ASCII; the bounds are of its length.
    Text,
    /// Hex digits; the bounds are of their number.
    Hex,
    /// A decimal integer within the bounds.
    Integer,
    /// error, warn, info or debug.
    Level,
    /// One of a few words.
    Choice,
}

/// One variable, as `proto/config.toml` has it.
pub struct Variable {
    /// Without the prefix.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// None: required.
    pub default: Option<&'static str>,
    /// Of an integer, or of a text's length in bytes.
    pub bounds: Option<(i64, i64)>,
    /// What for.
    pub about: &'static str,
}

const fn variable(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    bounds: Option<(i64, i64)>,
    about: &'static str,
) -> Variable {
    Variable { name, kind, default, bounds, about }
}

/// What [`Kind::Choice`] takes; there is one such variable.
const TARGETS: [&str; 2] = ["public", "any"];

/// All variables, in the order of `proto/config.toml`.
#[rustfmt::skip]
pub const VARIABLES: [Variable; 28] = [
    variable("DATABASE_URL", Kind::Url, None, None, "Postgres, as the role twinpay_service; `payments migrate` takes the owner's"),
    variable("DATABASE_CONNECTIONS", Kind::Integer, Some("16"), Some((1, 200)), "connections for requests"),
    variable("WORKER_CONNECTIONS", Kind::Integer, Some("4"), Some((1, 50)), "connections for the workers, so that they and the requests can't starve each other"),
    variable("DATABASE_WAIT_MS", Kind::Integer, Some("100"), Some((1, 30_000)), "how long a request's first statement waits for a connection before it is shed"),
    variable("ACQUIRER_URL", Kind::Url, None, None, "the card network's gRPC endpoint, http://host:port"),
    variable("HTTP_ADDR", Kind::Address, Some("127.0.0.1:8080"), None, "the HTTP door; port 0 takes any free one"),
    variable("GRPC_ADDR", Kind::Address, Some("127.0.0.1:9080"), None, "the gRPC door"),
    variable("ADMIN_ADDR", Kind::Address, Some("127.0.0.1:9480"), None, "health, version and metrics; not for the public"),
    variable("ADMIN_TOKEN", Kind::Text, None, Some((32, 255)), "the credential of the admin operations, visible ASCII"),
    variable("PEPPER", Kind::Hex, None, Some((64, 64)), "the key of all card fingerprints: 32 bytes as 64 hex digits; never change it"),
    variable("HASH_ITERATIONS", Kind::Integer, Some("16384"), Some((1, 10_000_000)), "PBKDF2 rounds of a fingerprint; another number makes other fingerprints"),
    variable("HASH_PERMITS", Kind::Integer, Some("cores"), Some((1, 1024)), "hashes at once"),
    variable("HASH_QUEUE", Kind::Integer, Some("4 x permits"), Some((0, 65_536)), "hashes that may wait"),
    variable("HASH_WAIT_MS", Kind::Integer, Some("20"), Some((0, 30_000)), "how long a hash waits before it is shed"),
    variable("AUTHORIZATION_DAYS", Kind::Integer, Some("7"), Some((1, 365)), "how long an authorisation can be captured"),
    variable("LEASE_MS", Kind::Integer, Some("4000"), Some((100, 60_000)), "how long a claimed operation belongs to its request before the recovery takes it"),
    variable("RATE_LIMIT", Kind::Integer, Some("1000"), Some((0, 1_000_000)), "requests a second of one API key; 0: no limit"),
    variable("RATE_BURST", Kind::Integer, Some("1000"), Some((1, 1_000_000)), "requests of one API key at once"),
    variable("BODY_TIMEOUT_MS", Kind::Integer, Some("10000"), Some((1, 60_000)), "how long a body may take to arrive after its request's head"),
    variable("STREAMS", Kind::Integer, Some("1000"), Some((0, 65_536)), "event streams at once; further ones are shed"),
    variable("STREAM_HEARTBEAT_MS", Kind::Integer, Some("15000"), Some((10, 60_000)), "the silence after which a stream sends a heartbeat"),
    variable("STREAM_WRITE_MS", Kind::Integer, Some("10000"), Some((10, 60_000)), "how long a stream's consumer may leave a message unread before it is dropped"),
    variable("KEY_HOURS", Kind::Integer, Some("24"), Some((1, 720)), "how long an idempotency key is kept"),
    variable("WEBHOOK_MASTER", Kind::Hex, None, Some((64, 64)), "the key that webhook secrets are derived from: 32 bytes as 64 hex digits; changing it changes every secret"),
    variable("WEBHOOK_TARGETS", Kind::Choice, Some("public"), None, "public: https to public addresses only; any: also http and private addresses, for local use"),
    variable("WEBHOOK_RETRY_MS", Kind::Integer, Some("5000"), Some((1, 3_600_000)), "the longest wait before a webhook's second attempt; it doubles with each, up to an hour"),
    variable("LOG_LEVEL", Kind::Level, Some("info"), None, "error, warn, info or debug"),
    variable("SERVICE_PASSWORD", Kind::Text, Some(""), Some((0, 255)), "read by `payments migrate` alone: the password to give to the role twinpay_service"),
];

/// A variable that can't be used. Holds no value: it may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{PREFIX}{name} {problem}")]
pub struct Invalid {
    name: &'static str,
    problem: String,
}

/// What the service runs with.
#[derive(Clone)]
pub struct Config {
    /// See [`VARIABLES`], as for each of these.
    pub database_url: String,
    /// Connections for requests.
    pub database_connections: usize,
    /// Connections for the workers.
    pub worker_connections: usize,
    /// Wait of a first statement.
    pub database_wait: Duration,
    /// http://host:port
    pub acquirer_url: String,
    /// host:port
    pub http_addr: String,
    /// host:port
    pub grpc_addr: String,
    /// host:port
    pub admin_addr: String,
    /// A secret.
    pub admin_token: String,
    /// A secret.
    pub pepper: [u8; 32],
    /// Rounds.
    pub hash_iterations: u32,
    /// At once.
    pub hash_permits: usize,
    /// Waiting.
    pub hash_queue: usize,
    /// Wait.
    pub hash_wait: Duration,
    /// Until an authorisation lapses.
    pub authorization: time::Duration,
    /// Of a claimed operation.
    pub lease: Duration,
    /// A second, of one API key; 0: no limit.
    pub rate_limit: u32,
    /// At once, of one API key.
    pub rate_burst: u32,
    /// Of a body, after its head.
    pub body_limit: Duration,
    /// At once.
    pub streams: usize,
    /// Silence of a stream.
    pub stream_heartbeat: Duration,
    /// For a consumer to read a message.
    pub stream_write: Duration,
    /// Of an idempotency key.
    pub key_age: time::Duration,
    /// A secret.
    pub webhook_master: [u8; 32],
    /// Whom webhooks may reach.
    pub webhook_targets: Targets,
    /// The longest wait before a webhook's second attempt.
    pub webhook_retry: Duration,
    /// Of our own lines.
    pub log_level: LevelFilter,
    /// OTEL_EXPORTER_OTLP_ENDPOINT; nothing is exported where it is unset or empty.
    pub otlp_endpoint: Option<String>,
}

impl Config {
    /// From variables as `get` knows them, by their full name.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, Invalid> {
        let source = Source(&get);
        // Fields are evaluated as they stand here: in the order of the table, so that its first fault is the one told.
        Ok(Self {
            database_url: source.text("DATABASE_URL")?,
            database_connections: source.integer("DATABASE_CONNECTIONS")?,
            worker_connections: source.integer("WORKER_CONNECTIONS")?,
            database_wait: source.milliseconds("DATABASE_WAIT_MS")?,
            acquirer_url: source.text("ACQUIRER_URL")?,
            http_addr: source.text("HTTP_ADDR")?,
            grpc_addr: source.text("GRPC_ADDR")?,
            admin_addr: source.text("ADMIN_ADDR")?,
            admin_token: source.text("ADMIN_TOKEN")?,
            pepper: source.key("PEPPER")?,
            hash_iterations: source.integer("HASH_ITERATIONS")?,
            hash_permits: source.integer("HASH_PERMITS")?,
            hash_queue: source.integer_or("HASH_QUEUE", source.integer::<usize>("HASH_PERMITS")? * 4)?,
            hash_wait: source.milliseconds("HASH_WAIT_MS")?,
            authorization: time::Duration::days(source.integer("AUTHORIZATION_DAYS")?),
            lease: source.milliseconds("LEASE_MS")?,
            rate_limit: source.integer("RATE_LIMIT")?,
            rate_burst: source.integer("RATE_BURST")?,
            body_limit: source.milliseconds("BODY_TIMEOUT_MS")?,
            streams: source.integer("STREAMS")?,
            stream_heartbeat: source.milliseconds("STREAM_HEARTBEAT_MS")?,
            stream_write: source.milliseconds("STREAM_WRITE_MS")?,
            key_age: time::Duration::hours(source.integer("KEY_HOURS")?),
            webhook_master: source.key("WEBHOOK_MASTER")?,
            webhook_targets: match source.text("WEBHOOK_TARGETS")?.as_str() {
                "any" => Targets::Any,
                _ => Targets::Public,
            },
            webhook_retry: source.milliseconds("WEBHOOK_RETRY_MS")?,
            log_level: match source.text("LOG_LEVEL")?.as_str() {
                "error" => LevelFilter::ERROR,
                "warn" => LevelFilter::WARN,
                "info" => LevelFilter::INFO,
                _ => LevelFilter::DEBUG,
            },
            otlp_endpoint: get("OTEL_EXPORTER_OTLP_ENDPOINT").filter(|endpoint| !endpoint.is_empty()),
        })
    }
}

/// What `payments migrate` runs with.
pub struct Migration {
    /// The owner's.
    pub database_url: String,
    /// None: the role keeps what it has.
    pub service_password: Option<String>,
}

impl Migration {
    /// From variables as `get` knows them.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, Invalid> {
        let source = Source(&get);
        let password = source.text("SERVICE_PASSWORD")?;
        Ok(Self {
            database_url: source.text("DATABASE_URL")?,
            service_password: Some(password).filter(|password| !password.is_empty()),
        })
    }
}

fn invalid(name: &'static str, problem: impl Into<String>) -> Invalid {
    Invalid { name, problem: problem.into() }
}

struct Source<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Source<'_> {
    /// The checked text of a variable. An empty value is as an unset one.
    fn text(&self, name: &'static str) -> Result<String, Invalid> {
        let variable =
            VARIABLES.iter().find(|v| v.name == name).ok_or_else(|| invalid(name, "isn't a variable"))?;
        match ((self.0)(&format!("{PREFIX}{name}")).filter(|value| !value.is_empty()), variable.default) {
            (Some(value), _) => {
                check(variable, &value).map(|()| value).map_err(|problem| Invalid { name, problem })
            }
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(invalid(name, format!("isn't set: it must be {}", bound(variable)))),
        }
    }

    fn key(&self, name: &'static str) -> Result<[u8; 32], Invalid> {
        let mut key = [0; 32];
        hex::decode_to_slice(self.text(name)?, &mut key).map_err(|_| invalid(name, "isn't hex digits"))?;
        Ok(key)
    }

    fn integer_or<T: TryFrom<i64>>(&self, name: &'static str, computed: T) -> Result<T, Invalid> {
        match self.text(name)?.parse::<i64>() {
            Ok(value) => T::try_from(value).map_err(|_| invalid(name, "is out of range")),
            Err(_) => Ok(computed),
        }
    }

    /// Only the two computed defaults aren't numbers by now; `cores` is the one that ends here.
    fn integer<T: TryFrom<i64> + TryFrom<usize>>(&self, name: &'static str) -> Result<T, Invalid> {
        let cores = available_parallelism().map_or(1, usize::from);
        self.integer_or(name, T::try_from(cores).map_err(|_| invalid(name, "is out of range"))?)
    }

    fn milliseconds(&self, name: &'static str) -> Result<Duration, Invalid> {
        self.integer::<u64>(name).map(Duration::from_millis)
    }
}

/// What is wrong with a value, and what it must be. That of a url, a text or hex isn't repeated: it may hold a secret. What others
/// hold is visible: an error is one line.
fn check(variable: &Variable, value: &str) -> Result<(), String> {
    let (min, max) = variable.bounds.unwrap_or((0, i64::MAX));
    let within = |number: i64| (min..=max).contains(&number);
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let good = match variable.kind {
        Kind::Url if variable.name == "DATABASE_URL" => {
            let postgres = value.starts_with("postgres://") || value.starts_with("postgresql://");
            postgres && value.parse::<PgConnectOptions>().is_ok()
        }
        Kind::Url => is_http_url(value),
        Kind::Address => is_address(value),
        Kind::Text => within(length),
        Kind::Hex => within(length) && value.bytes().all(|b| b.is_ascii_hexdigit()),
        Kind::Integer => value.parse().is_ok_and(within),
        Kind::Level => ["error", "warn", "info", "debug"].contains(&value),
        Kind::Choice => TARGETS.contains(&value),
    };
    let visible = value.bytes().all(|b| b.is_ascii_graphic());
    if good && visible {
        return Ok(());
    }
    let problem = match variable.kind {
        _ if !visible => "has a byte that isn't visible ASCII".to_owned(),
        Kind::Url => "can't be read".to_owned(),
        Kind::Hex if within(length) => "has a byte that isn't a hex digit".to_owned(),
        Kind::Text | Kind::Hex => format!("has {length} bytes"),
        Kind::Address | Kind::Integer | Kind::Level | Kind::Choice => format!("is {value:?}"),
    };
    Err(format!("{problem}: it must be {}", bound(variable)))
}

fn bound(variable: &Variable) -> String {
    let (min, max) = variable.bounds.unwrap_or_default();
    match variable.kind {
        Kind::Url if variable.name == "DATABASE_URL" => "postgres://user:password@host:port/database".into(),
        Kind::Url => "http://host:port".into(),
        Kind::Address => "host:port".into(),
        Kind::Text => format!("a text of {min} to {max} bytes, visible ASCII"),
        Kind::Hex => format!("{max} hex digits"),
        Kind::Integer => format!("an integer from {min} to {max}"),
        Kind::Level => "error, warn, info or debug".into(),
        Kind::Choice => TARGETS.join(" or "),
    }
}

/// Whether it is http://host or http://host:port, perhaps with a slash behind.
fn is_http_url(text: &str) -> bool {
    let Some(authority) = text.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest))
    else {
        return false;
    };
    let known =
        text.parse::<http::Uri>().is_ok_and(|uri| uri.authority().is_some_and(|a| a.as_str() == authority));
    let without_port = authority.ends_with(']') || !authority.contains(':');
    known
        && !authority.contains('@')
        && (is_address(authority) || without_port && is_address(&format!("{authority}:80")))
}

/// Whether it is host:port; a host with colons stands in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bare.unwrap_or(if host.contains(':') { "" } else { host });
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    !host.is_empty() && !host.contains(['[', ']']) && digits && port.parse::<u16>().is_ok()
}

/// The first address that `text` resolves to.
pub async fn resolve(text: &str) -> std::io::Result<SocketAddr> {
    let mut all = tokio::net::lookup_host(text).await?;
    all.next().ok_or_else(|| std::io::Error::other(format!("{text} has no address")))
}

/// The table for `payments config`: a variable, its default and its bounds a line.
pub struct Table;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for v in &VARIABLES {
            let default = match v.default {
                None => "required".to_owned(),
                Some("") => "default none".to_owned(),
                Some(default) => format!("default {default}"),
            };
            let bounds = match (v.bounds, v.kind) {
                (None, _) => String::new(),
                (Some((min, max)), Kind::Integer) => format!(", {min} to {max}"),
                (Some((min, max)), _) => format!(", {min} to {max} bytes"),
            };
            writeln!(f, "{PREFIX}{:<22} {} ({default}{bounds})", v.name, v.about)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(extra: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let name = name.strip_prefix(PREFIX)?;
            let given = extra.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
            given.map(str::to_owned).or_else(|| {
                Some(match name {
                    "DATABASE_URL" => "postgres://localhost/x".into(),
                    "ACQUIRER_URL" => "http://localhost:9090".into(),
                    "ADMIN_TOKEN" => "a".repeat(32),
                    "PEPPER" | "WEBHOOK_MASTER" => "0f".repeat(32),
                    _ => return None,
                })
            })
        }
    }

    #[test]
    fn the_table_is_that_of_the_contract() {
        let contract: toml::Table = include_str!("../../../proto/config.toml").parse().unwrap();
        let contract = contract["variable"].as_array().unwrap();
        assert_eq!(contract.len(), VARIABLES.len());
        for (ours, theirs) in VARIABLES.iter().zip(contract) {
            let text = |name: &str| theirs.get(name).and_then(|v| v.as_str());
            let bound = |name: &str| theirs.get(name).and_then(toml::Value::as_integer);
            assert_eq!(Some(ours.name), text("name"));
            assert_eq!(
                Some(format!("{:?}", ours.kind).to_lowercase().as_str()),
                text("kind"),
                "{}",
                ours.name
            );
            let choices =
                theirs.get("choices").map(|c| c.as_array().unwrap().iter().map(|c| c.as_str().unwrap()));
            if let Some(choices) = choices {
                assert!(choices.eq(TARGETS), "{}", ours.name);
            }
            assert_eq!(ours.default, text("default"), "{}", ours.name);
            assert_eq!(ours.bounds, bound("min").zip(bound("max")), "{}", ours.name);
            assert_eq!(Some(ours.about), text("about"));
        }
    }

    #[test]
    fn defaults_hold_where_nothing_is_said() {
        let config = Config::read(environment(&[])).unwrap();
        assert_eq!((config.database_connections, config.hash_iterations), (16, 16_384));
        assert_eq!(config.hash_permits, available_parallelism().unwrap().get());
        assert_eq!(config.hash_queue, config.hash_permits * 4);
        assert_eq!(config.otlp_endpoint, None);
        assert_eq!(Config::read(environment(&[("HASH_PERMITS", "3")])).unwrap().hash_queue, 12);
    }

    #[test]
    fn environments_are_taken_or_refused_as_the_contract_says() {
        let file: toml::Table = include_str!("../../../proto/vectors/config.toml").parse().unwrap();
        for case in file["case"].as_array().unwrap() {
            let set = case["set"].as_table().unwrap();
            let read = Config::read(|name| {
                let name = name.strip_prefix(PREFIX)?;
                let value = set.get(name).or_else(|| file["good"].get(name))?;
                Some(value.as_str().unwrap().to_owned())
            });
            let told = read.err().map(|invalid| invalid.to_string());
            assert_eq!(told.as_deref(), case.get("error").and_then(toml::Value::as_str), "{set}");
        }
    }
}
