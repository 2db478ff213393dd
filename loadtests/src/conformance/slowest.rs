//! Where the time of the operation went that a kill left pending for longest: told when a settlement is late, from the
//! database's row and the log of the service that settled it.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use sqlx::{Connection, PgConnection, Row};
use time::{Duration, OffsetDateTime};

use super::agree::type_id;

/// The services' own setting: a leased operation's row says until when, and so from when.
const LEASE: Duration = Duration::seconds(4);
/// More lines of a log say no more.
const LINES: usize = 10;

/// An operation that a request claimed and the recovery settled, with all times from readiness on.
#[derive(Debug, PartialEq)]
pub struct Slowest {
    id: String,
    kind: String,
    claimed: Duration,
    /// How often the recovery took it, and the end of its last lease.
    leases: i64,
    leased_until: Duration,
    /// None: still pending.
    recorded: Option<Duration>,
    /// What the service logged about it.
    log: Vec<String>,
}

impl Slowest {
    /// Of the operations claimed from `begin` on and left to the recovery, the one recorded last, or still pending.
    pub async fn find(
        url: &str,
        begin: OffsetDateTime,
        ready: OffsetDateTime,
        log: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let mut connection = PgConnection::connect(url).await.context("connecting as the owner")?;
        let query = sqlx::query(
            "select replace(id::text, '-', ''), kind, created_at, lease_token, leased_until, finished_at from operations
             where created_at >= $1 and (lease_token > 0 or state = 'pending')
             order by finished_at desc nulls first limit 1",
        );
        let row = query.bind(begin).fetch_optional(&mut connection).await.context("reading operations")?;
        connection.close().await.ok();
        let Some(row) = row else { return Ok(None) };
        let digits: String = row.try_get(0)?;
        let id = type_id("op", u128::from_str_radix(&digits, 16)?);
        let text = std::fs::read_to_string(log).with_context(|| log.display().to_string())?;
        let lines = text.lines().filter(|line| line.contains(&id)).take(LINES);
        let (claimed, until): (OffsetDateTime, OffsetDateTime) = (row.try_get(2)?, row.try_get(4)?);
        let recorded: Option<OffsetDateTime> = row.try_get(5)?;
        Ok(Some(Self {
            log: lines.map(str::to_owned).collect(),
            id,
            kind: row.try_get(1)?,
            claimed: claimed - ready,
            leases: row.try_get(3)?,
            leased_until: until - ready,
            recorded: recorded.map(|recorded| recorded - ready),
        }))
    }
}

impl fmt::Display for Slowest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| format!("{} ms", time.whole_milliseconds());
        let Self { id, kind, claimed, leases, leased_until, recorded, log } = self;
        write!(f, "the slowest is {id} ({kind}), in times from readiness: claimed at {}", ms(*claimed))?;
        write!(f, " with a lease until {}", ms(*claimed + LEASE))?;
        if *leases > 0 {
            let taken = ms(*leased_until - LEASE);
            write!(f, ", taken by the recovery {leases} times, last at {taken} until {}", ms(*leased_until))?;
        } else {
            write!(f, ", never taken by the recovery")?;
        }
        match recorded {
            Some(recorded) => write!(f, ", recorded at {}", ms(*recorded))?,
            None => write!(f, ", not recorded")?,
        }
        if log.is_empty() {
            return write!(f, "; its service logged nothing about it");
        }
        log.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_operation_is_told_step_by_step() {
        let late = Slowest {
            id: "op_1".into(),
            kind: "capture".into(),
            claimed: Duration::milliseconds(-130),
            leases: 1,
            leased_until: Duration::milliseconds(8020),
            recorded: Some(Duration::milliseconds(5170)),
            log: vec![],
        };
        let wanted = "the slowest is op_1 (capture), in times from readiness: claimed at -130 ms with a lease until \
                      3870 ms, taken by the recovery 1 times, last at 4020 ms until 8020 ms, recorded at 5170 ms; \
                      its service logged nothing about it";
        assert_eq!(late.to_string(), wanted);
        let never = Slowest { leases: 0, recorded: None, log: vec!["{}".into()], ..late };
        assert!(never.to_string().ends_with("never taken by the recovery, not recorded\n    {}"), "{never}");
    }
}
