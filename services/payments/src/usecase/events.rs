//! A merchant's events, in pages and as streams. Streams resume after any sequence, send heartbeats through silence and let no consumer hold them up. A
//! notice of Postgres wakes them; a lost one costs at most a heartbeat's time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry::KeyValue;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    deadline,
    page::{Filter, List, Page, of_sequence},
    payments::Payments,
};
use crate::{
    domain::{
        error::{Error, Rule, Violations},
        event::{Event, EventType},
        id::MerchantId,
    },
    store::events::{get_last_sequence, list_events, list_events_after},
    telemetry::Call,
};

/// Events of one look.
const BATCH: i64 = 100;
/// The largest sequence that a stream can be resumed after: no merchant gets there.
const MAX_SEQUENCE: i64 = 999_999_999_999;

/// The streams of this process.
pub struct Streams {
    places: Arc<Semaphore>,
    wakers: Mutex<HashMap<MerchantId, watch::Sender<()>>>,
    draining: CancellationToken,
    heartbeat: Duration,
    write: Duration,
}

impl Streams {
    /// At most `most` at once.
    pub fn new(most: usize, heartbeat: Duration, write: Duration) -> Self {
        let (places, draining) = (Arc::new(Semaphore::new(most)), CancellationToken::new());
        Self { places, wakers: Mutex::default(), draining, heartbeat, write }
    }

    /// Has a merchant's streams look for events.
    pub fn wake(&self, merchant: MerchantId) {
        if let Some(waker) = self.wakers().get(&merchant) {
            waker.send_replace(());
        }
    }

    /// Has all streams look: something may have been missed.
    pub fn wake_all(&self) {
        self.wakers().values().for_each(|waker| {
            waker.send_replace(());
        });
    }

    /// Ends all streams, also those to come.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    fn wakers(&self) -> MutexGuard<'_, HashMap<MerchantId, watch::Sender<()>>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was sent.
#[derive(Debug)]
pub struct ListEvents {
    /// Which page.
    pub page: Page,
    /// Only events of this type.
    pub kind: Option<String>,
}

/// What was sent.
#[derive(Debug)]
pub struct WatchEvents {
    /// What the door calls it.
    pub field: &'static str,
    /// None: from now on.
    pub after_sequence: Option<i64>,
}

/// What a stream tells.
#[derive(Debug)]
pub enum Item {
    /// It is alive.
    Heartbeat,
    /// In order, none missing.
    Events(Vec<Event>),
}

/// Why a stream ended.
#[derive(Debug)]
pub enum End {
    /// The service drains.
    Drained,
    /// The consumer left a message unread for too long.
    Slow,
    /// Events can't be read.
    Failed(Error),
}

/// A stream.
pub struct Watch {
    payments: Payments,
    call: Call,
    merchant: MerchantId,
    after: i64,
    woken: watch::Receiver<()>,
    begun: bool,
    heartbeat_due: Instant,
    /// There may be events after `after`.
    unread: bool,
    _place: OwnedSemaphorePermit,
}

impl Payments {
    /// A page of a merchant's published events.
    pub async fn list_events(
        &self,
        call: &Call,
        merchant: MerchantId,
        command: ListEvents,
        mut violations: Violations,
    ) -> Result<List<Event>, Error> {
        let size = command.page.size(&mut violations);
        let kind = command.kind.map(|name| EventType::parse(&name));
        let kind = violations.optional("type", kind, Rule::UnknownValue);
        violations.check()?;
        let members = [("type", kind.map(|kind| kind.as_str().to_owned()))];
        let filter = Filter::new("list_events", merchant, &members);
        let after = command.page.after_sequence(filter)?;
        let rows = list_events(&self.db, call, merchant, after, kind, size + 1).await;
        let rows = rows.map_err(|failure| failure.reading())?;
        Ok(List::new(rows, size, filter, |event| of_sequence(event.sequence)))
    }

    /// A stream of a merchant's events, whose first item is a heartbeat.
    pub async fn watch_events(
        &self,
        call: Call,
        merchant: MerchantId,
        command: WatchEvents,
        mut violations: Violations,
    ) -> Result<Watch, Error> {
        let after = violations.optional_integer(command.field, command.after_sequence, 0, MAX_SEQUENCE);
        violations.check()?;
        let place = self.streams.places.clone().try_acquire_owned().map_err(|_| {
            self.metrics.rejected.add(1, &[KeyValue::new("reason", "streams")]);
            Error::Overloaded(None)
        })?;
        let woken = self.streams.wakers().entry(merchant).or_default().subscribe();
        let mut watch = Watch {
            payments: self.clone(),
            call,
            merchant,
            after: after.unwrap_or_default(),
            woken,
            begun: false,
            heartbeat_due: Instant::now() + self.streams.heartbeat,
            unread: true,
            _place: place,
        };
        if after.is_none() {
            let last = get_last_sequence(&self.db, &watch.call, merchant).await;
            watch.after = last.map_err(|failure| failure.reading())?;
        }
        Ok(watch)
    }
}

impl Watch {
    /// Sends all that `render` makes of the items, until the stream ends; none: the consumer has gone.
    pub async fn pump<T>(
        mut self,
        to: mpsc::Sender<T>,
        render: impl Fn(Item) -> Result<Vec<T>, Error>,
    ) -> Option<End> {
        let draining = self.payments.streams.draining.clone();
        loop {
            let item = tokio::select! {
                () = to.closed() => return None,
                () = draining.cancelled() => return Some(End::Drained),
                item = self.next() => item,
            };
            let messages = match item.and_then(&render) {
                Ok(messages) => messages,
                Err(error) => return Some(End::Failed(error)),
            };
            for message in messages {
                match timeout(self.payments.streams.write, to.send(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return None,
                    Err(_) => return Some(End::Slow),
                }
            }
        }
    }

    async fn next(&mut self) -> Result<Item, Error> {
        if !std::mem::replace(&mut self.begun, true) {
            return Ok(Item::Heartbeat);
        }
        loop {
            if self.unread {
                let call = self.call.until(deadline::default(Instant::now()));
                let events =
                    list_events_after(&self.payments.db, &call, self.merchant, self.after, BATCH).await;
                let events = events.map_err(|failure| failure.reading())?;
                self.unread = events.len() as i64 == BATCH;
                if let Some(last) = events.last() {
                    self.after = last.sequence;
                    self.heartbeat_due = Instant::now() + self.payments.streams.heartbeat;
                    return Ok(Item::Events(events));
                }
            }
            tokio::select! {
                // It can't be closed while somebody listens.
                _ = self.woken.changed() => self.unread = true,
                () = sleep_until(self.heartbeat_due) => {
                    self.heartbeat_due = Instant::now() + self.payments.streams.heartbeat;
                    self.unread = true;
                    return Ok(Item::Heartbeat);
                }
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut wakers = self.payments.streams.wakers();
        if wakers.get(&self.merchant).is_some_and(|waker| waker.receiver_count() == 1) {
            wakers.remove(&self.merchant);
        }
    }
}
