//! A stream of events as messages, and why it ended as its status.

use std::pin::Pin;

use futures::{Stream, stream};
use payments_proto::payments::v1::WatchEventsResponse;
use tokio::sync::mpsc;
use tonic::Status;

use super::{interceptors::Seen, wire};
use crate::{
    domain::error::Error,
    usecase::events::{End, Watch},
};

/// What WatchEvents answers.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<WatchEventsResponse, Status>> + Send>>;

/// A consumer that doesn't read holds a message or two, and nothing else.
pub fn open(watch: Watch, seen: Seen) -> EventStream {
    let (to, from) = mpsc::channel(1);
    let render = |item| wire::items(item).map_err(|error| Error::Internal(error.into()));
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
