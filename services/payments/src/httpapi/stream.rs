//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>): a body that lasts.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, header};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    domain::error::Error,
    reply,
    telemetry::chain,
    usecase::events::{End, Item, Watch},
};

/// Beside a response whose body lasts: the request ends with the body.
#[derive(Clone)]
pub struct Lasting;

/// A stream as a response. `connection` ends the connection of a consumer that doesn't read: nobody polls its body any more.
pub fn respond(watch: Watch, connection: CancellationToken) -> Response {
    let (to, from) = mpsc::channel(1);
    tokio::spawn(async move {
        match watch.pump(to, |item| Ok::<_, Error>(vec![render(item)])).await {
            Some(End::Slow) => connection.cancel(),
            Some(End::Failed(error)) => {
                let cause = error.cause().map(|cause| chain(cause.as_ref()));
                warn!(reason = error.reason().as_str(), error = cause, "a stream of events was cut off");
            }
            Some(End::Drained) | None => {}
        }
    });
    let bytes = stream::unfold(from, async |mut from: mpsc::Receiver<Bytes>| {
        Some((Ok::<_, Infallible>(from.recv().await?), from))
    });
    let mut response = Response::new(Body::from_stream(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.extensions_mut().insert(Lasting);
    response
}

fn render(item: Item) -> Bytes {
    match item {
        Item::Heartbeat => Bytes::from_static(b": heartbeat\n\n"),
        Item::Events(events) => {
            let blocks = events.iter().map(|event| {
                format!("id: {}\nevent: {}\ndata: {}\n\n", event.sequence, event.kind, reply::event(event))
            });
            blocks.collect::<String>().into()
        }
    }
}
