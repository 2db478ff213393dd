//! One HTTP/2 connection with many requests at once: plain HTTP or gRPC, which differ only in what is sent.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::{FuturesUnordered, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::lane::{Job, Lane};
use super::{REOPEN_PAUSE, Shared};
use crate::clock::now_ns;
use crate::trace::Door;
use crate::workload::{Prepared, Reply};

/// Requests at once on one connection: what both services allow.
pub(super) const STREAMS: usize = 100;

/// Has hyper's own tasks run in this thread.
#[derive(Clone, Copy)]
struct Here;

impl<F: Future<Output = ()> + 'static> Executor<F> for Here {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Ends the connection with the task that holds it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    ended: bool,
}

impl Connection {
    /// Whether it has ended; if not, its end wakes whoever asks.
    fn ended(&mut self, context: &mut Context<'_>) -> bool {
        self.ended = self.ended || Pin::new(&mut self.driver).poll(context).is_ready();
        self.ended
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Runs until it is aborted, and with it what is under way.
pub(super) async fn serve(
    shared: Rc<Shared>,
    lane: Rc<Lane>,
    number: usize,
    (door, address): (Door, SocketAddr),
) {
    loop {
        let mut connection = open(&shared, door, address).await;
        lane.opened(number);
        shared.settled.notify_one();
        let mut under_way = FuturesUnordered::new();
        poll_fn(|context| {
            // The driver's end wakes this task where no request comes to find the connection closed.
            let closed = connection.ended(context) || connection.sender.is_closed();
            while !closed && let Poll::Ready(job) = lane.poll_job(number, context) {
                under_way.push(one(&shared, connection.sender.clone(), job));
            }
            while let Poll::Ready(Some(())) = under_way.poll_next_unpin(context) {
                lane.done(number);
            }
            if closed && under_way.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        lane.closed(number);
        shared.recording.borrow_mut().counts.reopened += 1;
    }
}

async fn one(shared: &Shared, mut sender: SendRequest<Full<Bytes>>, job: Job) {
    let Job { index, due_ns, request, at_once } = job;
    let sent_ns = shared.sent(due_ns, at_once);
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let (body, trailers) = read(body).await?;
        hyper::Result::Ok(Reply { status: head.status, headers: head.headers, body, trailers })
    };
    match exchange.await {
        Ok(reply) => shared.reply(index, due_ns, sent_ns, now_ns(), &reply),
        Err(error) => shared.failed(due_ns, &error.to_string()),
    }
}

/// Most bodies are one frame, which is handed on without a copy.
async fn read(mut body: Incoming) -> hyper::Result<(Bytes, Option<http::HeaderMap>)> {
    let (mut first, mut rest, mut trailers) = (Bytes::new(), BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if first.is_empty() => first = data,
            Ok(data) => rest.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    if rest.is_empty() {
        return Ok((first, trailers));
    }
    let whole: BytesMut = first.iter().chain(&rest).copied().collect();
    Ok((whole.freeze(), trailers))
}

async fn open(shared: &Shared, door: Door, address: SocketAddr) -> Connection {
    loop {
        if let Some((stream, _permit)) = shared.connect(address).await
            && let Ok((sender, driver)) = http2::handshake(Here, TokioIo::new(stream)).await
        {
            let driver = tokio::task::spawn_local(async move { drop(driver.await) });
            let connection = Connection { sender, driver, ended: false };
            if greet(connection.sender.clone(), shared.greeting(door)).await {
                return connection;
            }
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}

/// Whether the greeting, where there is one, was answered.
async fn greet(mut sender: SendRequest<Full<Bytes>>, greeting: Option<Prepared>) -> bool {
    let Some(greeting) = greeting else { return true };
    match sender.send_request(greeting).await {
        Ok(response) => read(response.into_body()).await.is_ok(),
        Err(_) => false,
    }
}
