//! One keep-alive HTTP/1.1 connection: takes a due request, sends it, reads the reply, records, takes the next.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Job, Shared};
use crate::clock::now_ns;
use crate::workload::Checked;

/// One reply in so many has its whole body looked at.
const SAMPLE: u64 = 16;
/// Before opening a refused connection again.
const REOPEN_PAUSE: Duration = Duration::from_millis(50);

type Connection = SendRequest<Full<Bytes>>;

/// Runs until it is aborted.
pub(super) async fn serve(shared: Rc<Shared>, address: SocketAddr) {
    let mut connection = open(address).await;
    loop {
        shared.idle.set(shared.idle.get() + 1);
        shared.settled.notify_one();
        let job = next(&shared).await;
        shared.idle.set(shared.idle.get() - 1);
        let sent = one(&shared, &mut connection, job).await;
        shared.in_flight.set(shared.in_flight.get() - 1);
        let ready = sent.is_ok() && connection.ready().await.is_ok();
        if !ready {
            shared.record.borrow_mut().reopened += 1;
            connection = open(address).await;
        }
    }
}

async fn next(shared: &Shared) -> Job {
    loop {
        if let Some(job) = shared.queue.borrow_mut().pop_front() {
            return job;
        }
        shared.arrived.notified().await;
    }
}

/// Sends one request and records what became of it; an error means that the connection is of no more use.
async fn one(shared: &Shared, connection: &mut Connection, job: Job) -> Result<(), ()> {
    let sent_ns = now_ns();
    {
        let mut record = shared.record.borrow_mut();
        record.sent += 1;
        if job.at_once {
            record.lag_ns(sent_ns.saturating_sub(job.due_ns));
        }
    }
    let reply = async {
        let response = connection.send_request(job.request).await?;
        body_of(response).await
    };
    let (status, body) =
        reply.await.map_err(|error| shared.record.borrow_mut().failure(&error.to_string()))?;
    let done_ns = now_ns();
    let line = &shared.trace.lines[job.index];
    let checked = shared.player.borrow_mut().check(line, status, &body, line.id.is_multiple_of(SAMPLE));
    let mut record = shared.record.borrow_mut();
    let operation = shared.operations.iter().position(|name| *name == line.operation).unwrap_or(0);
    record.reply(operation, status.as_u16(), done_ns);
    match checked {
        Checked::Shed => record.shed += 1,
        Checked::Expected => {
            record.expected[operation] += 1;
            record.time(operation, done_ns - job.due_ns, done_ns - sent_ns);
        }
        Checked::Unexpected(what) => {
            record.unexpected(what);
            record.time(operation, done_ns - job.due_ns, done_ns - sent_ns);
        }
    }
    Ok(())
}

/// Most bodies are one frame, which is handed on without a copy.
async fn body_of(mut response: Response<Incoming>) -> Result<(StatusCode, Bytes), hyper::Error> {
    let (status, mut first, mut rest) = (response.status(), Bytes::new(), BytesMut::new());
    while let Some(frame) = response.body_mut().frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok((status, first));
    }
    let whole: BytesMut = first.iter().chain(&rest).copied().collect();
    Ok((status, whole.freeze()))
}

async fn open(address: SocketAddr) -> Connection {
    loop {
        if let Ok(stream) = TcpStream::connect(address).await
            && stream.set_nodelay(true).is_ok()
            && let Ok((sender, driver)) = http1::handshake(TokioIo::new(stream)).await
        {
            // Its end shows in the sender's next use.
            tokio::task::spawn_local(driver);
            return sender;
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}
