//! What happened, in the order in which merchants are told.

use sqlx::postgres::PgListener;
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use super::db::{CONNECT_LIMIT, Db, Failure, Step, broken};
use crate::{
    domain::{
        error::Cause,
        event::{Event, EventType},
        id::{EventId, MerchantId},
    },
    telemetry::Call,
};

/// What publish_events notifies.
const CHANNEL: &str = "events_published";

/// What a look into the outbox came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// So many have their sequence: none also where another leads.
    pub events: i64,
    /// When the oldest of them happened.
    pub oldest: Option<OffsetDateTime>,
}

/// Moves up to `limit` events into the log, if the lease is ours or free. Not part of any trace: it polls.
pub async fn publish_events(
    db: &Db,
    call: &Call,
    holder: Uuid,
    now: OffsetDateTime,
    leased_until: OffsetDateTime,
    limit: i64,
) -> Result<Published, Failure> {
    let make = || sqlx::query_file!("../../db/queries/publish_events.sql", holder, now, leased_until, limit);
    let rows = db.rows(Step::background(call, "publish_events"), make).await?;
    let [row] = rows.as_slice() else { return Err(broken("publish_events")) };
    let events = row.published.ok_or_else(|| broken("publish_events"))?;
    Ok(Published { events, oldest: row.oldest_created_at })
}

/// An event as every statement shows it.
struct Row {
    id: Uuid,
    r#type: String,
    sequence: i64,
    created_at: OffsetDateTime,
    data: String,
}

impl From<Row> for Event {
    fn from(row: Row) -> Self {
        Self {
            id: EventId(row.id),
            kind: row.r#type,
            sequence: row.sequence,
            created_at: row.created_at,
            object: row.data,
        }
    }
}

/// A merchant's events before a sequence, newest first.
pub async fn list_events(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    before: Option<i64>,
    kind: Option<EventType>,
    limit: i64,
) -> Result<Vec<Event>, Failure> {
    let kind = kind.map(EventType::as_str);
    let make =
        || sqlx::query_file_as!(Row, "../../db/queries/list_events.sql", merchant.0, before, kind, limit);
    let rows = db.rows(Step::first(call, "list_events"), make).await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// Up to `limit` events that follow a sequence. Not part of any trace: streams poll.
pub async fn list_events_after(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    after: i64,
    limit: i64,
) -> Result<Vec<Event>, Failure> {
    let make =
        || sqlx::query_file_as!(Row, "../../db/queries/list_events_after.sql", merchant.0, after, limit);
    let rows = db.rows(Step::untraced(call, "list_events_after"), make).await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// The sequence of the newest event; 0 where there is none yet.
pub async fn get_last_sequence(db: &Db, call: &Call, merchant: MerchantId) -> Result<i64, Failure> {
    let make = || sqlx::query_file!("../../db/queries/get_last_sequence.sql", merchant.0);
    let rows = db.rows(Step::first(call, "get_last_sequence"), make).await?;
    rows.first().and_then(|row| row.last).ok_or_else(|| broken("get_last_sequence"))
}

/// A connection of its own that hears of merchants with new events.
pub struct Notices(PgListener);

impl Notices {
    /// Connects and listens.
    pub async fn listen(url: &str) -> Result<Self, Cause> {
        let listening = async {
            let mut listener = PgListener::connect(url).await?;
            listener.listen(CHANNEL).await?;
            Ok::<_, sqlx::Error>(Self(listener))
        };
        Ok(timeout(CONNECT_LIMIT, listening).await??)
    }

    /// The next merchant. An error or none: the connection is of no use any more, and what it would have told is lost.
    pub async fn next(&mut self) -> Result<Option<MerchantId>, Cause> {
        let notice = self.0.try_recv().await?;
        notice.map(|notice| Ok(MerchantId(notice.payload().parse()?))).transpose()
    }
}
