//! Connections: accepted up to a limit, dropped when they ask for nothing for too long, ended in order when the drain begins.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;
use tracing::warn;

use crate::{config, domain::error::Cause, telemetry::chain};

/// Streams of one HTTP/2 connection at once; hyper's own limit is higher, tonic's none.
const MAX_STREAMS: u32 = 100;
/// Bytes of a request's headers on HTTP/2; and on HTTP/1, where the head must fit into the buffer.
const MAX_HEADERS: u32 = 16 * 1024;
const MAX_BUFFER: usize = 16 * 1024;
/// Connections at once, on each port.
const MAX_CONNECTIONS: usize = 16_384;
/// For connections that ask for nothing.
const PATIENCE: Patience = Patience { first: Duration::from_secs(10), idle: Duration::from_secs(75) };
/// Streams that a peer may reset before they are accepted, and that may fail for its own fault: more is a flood.
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 1024;
/// Pause when a connection can't be accepted: too many open files won't pass in a microsecond.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Takes a port.
pub(super) async fn bind(address: &str) -> Result<TcpListener, Cause> {
    let resolved = config::resolve(address).await.map_err(|error| format!("{address}: {error}"))?;
    Ok(TcpListener::bind(resolved).await.map_err(|error| format!("can't listen on {address}: {error}"))?)
}

/// Accepts until `stop`, then tells every connection to end after what it is doing, and waits for that.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    accept(listener, routes, Arc::new(Semaphore::new(MAX_CONNECTIONS)), stop).await;
}

async fn accept(listener: TcpListener, routes: Router, places: Arc<Semaphore>, stop: CancellationToken) {
    let builder = connection_builder();
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(error = %chain(&error), "can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // It can only fail on a connection that is gone already.
        let _ = stream.set_nodelay(true);
        let (builder, routes, stop) = (builder.clone(), routes.clone(), stop.clone());
        connections.spawn(async move {
            attend(&builder, stream, routes, PATIENCE, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// How long a connection is kept that asks for nothing.
#[derive(Clone, Copy)]
struct Patience {
    /// From accept to the first whole head of a request.
    first: Duration,
    /// From the end of a request to the next.
    idle: Duration,
}

/// Serves one connection. hyper's own timer for heads would also close idle connections, and begins only once it knows the version.
async fn attend(
    builder: &auto::Builder<TokioExecutor>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
    patience: Patience,
    stop: CancellationToken,
) {
    let activity = Activity::new((0, None));
    // Handlers end a connection by it whose client doesn't read.
    let cut = CancellationToken::new();
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(cut.clone());
        let running = Running::begin(&activity);
        let answer = routes.clone().call(request);
        async move {
            let response = answer.await?;
            // The body holds it, and changes nothing.
            let hold = move |error| {
                let _running = &running;
                error
            };
            Ok::<_, Infallible>(response.map(|body| body.map_err(hold)))
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut due = Instant::now() + patience.first;
    let (mut stopping, mut leaving) = (false, false);
    loop {
        tokio::select! {
            // How a client ends its connection is its own affair.
            _ = connection.as_mut() => return,
            () = cut.cancelled() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(due) => match *activity.borrow() {
                // Not one whole head yet.
                (_, None) => return,
                (1.., _) => (due, leaving) = (Instant::now() + patience.idle, false),
                (0, Some(since)) if since + patience.idle > Instant::now() => {
                    due = since + patience.idle;
                    leaving = false;
                }
                // It was asked to go, and doesn't.
                (0, Some(_)) if leaving => return,
                (0, Some(_)) => {
                    leaving = true;
                    due = Instant::now() + patience.first;
                    connection.as_mut().graceful_shutdown();
                }
            },
        }
    }
}

/// How many requests a connection runs, and when one last began or ended.
type Activity = watch::Sender<(usize, Option<Instant>)>;

/// A request from its head to the end of its response's body.
struct Running(Activity);

impl Running {
    fn begin(activity: &Activity) -> Self {
        activity.send_modify(|(running, last)| (*running, *last) = (*running + 1, Some(Instant::now())));
        Self(activity.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|(running, last)| (*running, *last) = (*running - 1, Some(Instant::now())));
    }
}

/// HTTP/1.1 and cleartext HTTP/2 on one port, with every limit named.
fn connection_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        time::timeout,
    };

    /// What a client that sends this and then nothing gets, until the connection is closed.
    async fn answers(sent: &[u8], patience: Patience) -> String {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let routes = Router::new().route("/", axum::routing::get(async || "here"));
        let stop = CancellationToken::new();
        let served = tokio::spawn(async move {
            attend(&connection_builder(), server, routes, patience, stop).await;
        });
        client.write_all(sent).await.unwrap();
        let mut got = Vec::new();
        let ended = timeout(Duration::from_secs(5), client.read_to_end(&mut got));
        ended.await.expect("it is closed").unwrap();
        served.await.unwrap();
        String::from_utf8_lossy(&got).into_owned()
    }

    const NEVER: Duration = Duration::from_secs(60);
    const SOON: Duration = Duration::from_millis(30);

    #[tokio::test]
    async fn a_connection_without_a_whole_head_is_closed() {
        for sent in ["", "PRI * HT", "GET / HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let got = answers(sent.as_bytes(), Patience { first: SOON, idle: NEVER }).await;
            assert!(!got.contains("HTTP/1.1 200"), "{sent}: {got}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_asks_no_more_is_closed() {
        let whole = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        for rest in ["", "GET / HT"] {
            let sent = format!("{whole}{rest}");
            let got = answers(sent.as_bytes(), Patience { first: SOON, idle: SOON }).await;
            assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("here"), "{rest}: {got}");
        }
    }

    #[tokio::test]
    async fn a_connection_has_its_place_until_it_ends_however_it_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (to, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let routes = Router::new().route("/", axum::routing::get(async || "here"));
        let places = Arc::new(Semaphore::new(1));
        let serving = tokio::spawn(accept(listener, routes, places.clone(), stop.clone()));
        for sent in ["", "GET / HT", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf"] {
            let mut cut = TcpStream::connect(to).await.unwrap();
            cut.write_all(sent.as_bytes()).await.unwrap();
            while places.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            let mut next = TcpStream::connect(to).await.unwrap();
            next.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            drop(cut);
            let mut got = String::new();
            let answered = timeout(Duration::from_secs(5), next.read_to_string(&mut got)).await;
            assert!(answered.is_ok() && got.ends_with("here"), "{sent}: {got}");
        }
        stop.cancel();
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_head_over_the_limit_is_refused() {
        let sent = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(MAX_BUFFER));
        let got = answers(sent.as_bytes(), Patience { first: NEVER, idle: NEVER }).await;
        assert!(got.starts_with("HTTP/1.1 431"), "{got}");
    }
}
