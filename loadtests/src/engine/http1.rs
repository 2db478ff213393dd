//! One keep-alive HTTP/1.1 connection: takes a due request, sends it, reads the reply, takes the next.
//!
//! The connection is driven inside the task that uses it: a request costs two wake-ups of one task, not of two.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::lane::{Job, Lane};
use super::{REOPEN_PAUSE, Shared};
use crate::clock::now_ns;
use crate::trace::Door;
use crate::workload::{Prepared, Reply};

type Driver = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    ended: bool,
}

/// Runs until it is aborted.
pub(super) async fn serve(shared: Rc<Shared>, lane: Rc<Lane>, number: usize, address: SocketAddr) {
    let mut connection = open(&shared, address).await;
    lane.opened(number);
    shared.settled.notify_one();
    loop {
        let job = connection.next(&lane, number).await;
        let usable = match job {
            Some(job) => {
                let usable = one(&shared, &mut connection, job).await;
                lane.done(number);
                usable
            }
            None => false,
        };
        if !usable {
            lane.closed(number);
            shared.recording.borrow_mut().counts.reopened += 1;
            connection = open(&shared, address).await;
            lane.opened(number);
        }
    }
}

/// Sends one request and records what became of it; says whether the connection is of more use.
async fn one(shared: &Shared, connection: &mut Connection, job: Job) -> bool {
    let Job { index, due_ns, request, at_once } = job;
    let sent_ns = shared.sent(due_ns, at_once);
    let exchange = async {
        let response = connection.send(request).await?;
        let (head, body) = response.into_parts();
        let body = connection.read(body).await?;
        hyper::Result::Ok(Reply { status: head.status, headers: head.headers, body, trailers: None })
    };
    match exchange.await {
        Ok(reply) => shared.reply(index, due_ns, sent_ns, now_ns(), &reply),
        Err(error) => {
            shared.failed(due_ns, &error.to_string());
            return false;
        }
    }
    connection.ready().await
}

impl Connection {
    /// Writes and reads what there is.
    fn drive(&mut self, context: &mut Context<'_>) {
        // Its errors show in the request's own result.
        self.ended = self.ended || Pin::new(&mut self.driver).poll(context).is_ready();
    }

    /// The next job; nothing where the other side has closed the connection first.
    async fn next(&mut self, lane: &Lane, number: usize) -> Option<Job> {
        poll_fn(|context| {
            if let Poll::Ready(job) = lane.poll_job(number, context) {
                return Poll::Ready(Some(job));
            }
            self.drive(context);
            if self.ended { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    async fn send(&mut self, request: http::Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let mut response = pin!(self.sender.send_request(request));
        let (driver, ended) = (&mut self.driver, &mut self.ended);
        poll_fn(|context| {
            *ended = *ended || Pin::new(&mut *driver).poll(context).is_ready();
            response.as_mut().poll(context)
        })
        .await
    }

    /// Most bodies are one frame, which is handed on without a copy.
    async fn read(&mut self, mut body: Incoming) -> hyper::Result<Bytes> {
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        loop {
            let frame = poll_fn(|context| {
                if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(context) {
                    return Poll::Ready(frame);
                }
                self.drive(context);
                Pin::new(&mut body).poll_frame(context)
            });
            let Some(frame) = frame.await.transpose()? else { break };
            let Ok(data) = frame.into_data() else { continue };
            if first.is_empty() {
                first = data;
            } else {
                rest.extend_from_slice(&data);
            }
        }
        if rest.is_empty() {
            return Ok(first);
        }
        let whole: BytesMut = first.iter().chain(&rest).copied().collect();
        Ok(whole.freeze())
    }

    /// Whether the greeting, where there is one, was answered.
    async fn greet(&mut self, greeting: Option<Prepared>) -> bool {
        let Some(greeting) = greeting else { return true };
        let Ok(response) = self.send(greeting).await else { return false };
        self.read(response.into_body()).await.is_ok() && self.ready().await
    }

    async fn ready(&mut self) -> bool {
        poll_fn(|context| {
            self.drive(context);
            self.sender.poll_ready(context)
        })
        .await
        .is_ok()
    }
}

async fn open(shared: &Shared, address: SocketAddr) -> Connection {
    loop {
        if let Some((stream, _permit)) = shared.connect(address).await
            && let Ok((sender, driver)) = http1::handshake(TokioIo::new(stream)).await
        {
            let mut connection = Connection { sender, driver, ended: false };
            if connection.greet(shared.greeting(Door::Http)).await {
                return connection;
            }
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}
