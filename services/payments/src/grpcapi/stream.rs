//! Events as messages, in pages and as a stream, and why that ended as its status.

use std::pin::Pin;

use futures::{Stream, stream};
use payments_proto::payments::v1 as message;
use tokio::sync::mpsc;
use tonic::Status;

use super::{
    interceptors::Seen,
    wire::{page, stored_payment, stored_refund, timestamp},
};
use crate::{
    domain::{error::Error, event::Event},
    reply::Unreadable,
    usecase::{
        events::{End, Item, ListEvents, Watch, WatchEvents},
        page::List,
    },
};

/// ListEventsRequest
pub fn list_events(message: message::ListEventsRequest) -> ListEvents {
    ListEvents { page: page(message.page_size, message.page_token), kind: message.r#type }
}

/// A page of events.
pub fn events(list: List<Event>) -> Result<message::ListEventsResponse, Unreadable> {
    let events = list.data.into_iter().map(event).collect::<Result<_, _>>()?;
    Ok(message::ListEventsResponse { events, next_page_token: list.next.unwrap_or_default() })
}

/// What WatchEvents answers.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<message::WatchEventsResponse, Status>> + Send>>;

/// WatchEventsRequest
pub fn watch_events(message: &message::WatchEventsRequest) -> WatchEvents {
    WatchEvents { field: "after_sequence", after_sequence: message.after_sequence }
}

/// A consumer that doesn't read holds a message or two, and nothing else.
pub fn open(watch: Watch, seen: Seen) -> EventStream {
    let (to, from) = mpsc::channel(1);
    let render = |item| items(item).map_err(|error| Error::Internal(error.into()));
    let pumping = tokio::spawn(watch.pump(to, render));
    Box::pin(stream::unfold(Some((from, pumping, seen)), async |stream| {
        let (mut from, pumping, seen) = stream?;
        if let Some(message) = from.recv().await {
            return Some((Ok(message), Some((from, pumping, seen))));
        }
        let status = match pumping.await {
            Ok(Some(End::Drained)) => Status::unavailable("the service is draining"),
            Ok(Some(End::Slow)) => seen.refuse(&Error::Overloaded(None)),
            Ok(Some(End::Failed(error))) => seen.refuse(&error),
            Ok(None) => return None,
            Err(panic) => seen.refuse(&Error::Internal(panic.into())),
        };
        Some((Err(status), None))
    }))
}

fn items(item: Item) -> Result<Vec<message::WatchEventsResponse>, Unreadable> {
    use message::watch_events_response::Item as Told;
    let told = |item| message::WatchEventsResponse { item: Some(item) };
    match item {
        Item::Heartbeat => Ok(vec![told(Told::Heartbeat(message::Heartbeat {}))]),
        Item::Events(events) => events.into_iter().map(|sent| Ok(told(Told::Event(event(sent)?)))).collect(),
    }
}

fn event(event: Event) -> Result<message::Event, Unreadable> {
    let object = if event.kind.starts_with("refund.") {
        message::event::Object::Refund(stored_refund(&event.object)?)
    } else {
        message::event::Object::Payment(stored_payment(&event.object)?)
    };
    Ok(message::Event {
        id: event.id.to_string(),
        r#type: event.kind,
        sequence: event.sequence,
        created_at: Some(timestamp(event.created_at)),
        object: Some(object),
    })
}
