//! Sockets: HTTP/2 with explicit limits. An accept loop of our own, since tonic's server has no limit on streams by
//! default and no way to reset one of them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use payments_proto::acquirer::v1::acquirer_service_server::AcquirerServiceServer;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

use crate::log;
use crate::service::{Network, ReplyLost};
use crate::telemetry::Telemetry;

/// Each caller keeps one or a few.
const CONNECTIONS: usize = 1024;
/// Calls at once on a connection. A slow network has thousands in flight; the callers set no limit of their own.
const STREAMS: u32 = 20_000;
/// A request is some headers and at most 200 bytes.
const HEADER_BYTES: u32 = 8 * 1024;
const MESSAGE_BYTES: usize = 4 * 1024;
/// Streams that a caller opens and resets before we look at them, and those that we reset for its errors.
const PENDING_RESETS: usize = 1024;
/// A peer that is silent this long is pinged, and dropped if it doesn't answer.
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(10);
/// How long calls may take to finish once we are told to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// After an error of accept (no more descriptors) it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves on `listener` until `stop` comes, then finishes the calls in flight.
pub async fn serve(
    listener: TcpListener,
    network: Network,
    telemetry: Telemetry,
    stop: impl Future<Output = ()>,
) {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<AcquirerServiceServer<Network>>().await;
    let network = AcquirerServiceServer::new(network).max_decoding_message_size(MESSAGE_BYTES);
    let door = Door { network, health: health_service, telemetry };
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));

    tokio::pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            () = &mut stop => break,
            (accepted, place) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = graceful.watch(connection(stream, door.clone()));
                    tokio::spawn(async move {
                        // An error is the peer's business: it reset the connection, or broke the protocol.
                        connection.await.ok();
                        drop(place);
                    });
                }
                Err(error) => {
                    log::line("warn", "accept failed", json!({ "error": error.to_string() }));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }

    drop(listener);
    health.set_not_serving::<AcquirerServiceServer<Network>>().await;
    if tokio::time::timeout(DRAIN_LIMIT, graceful.shutdown()).await.is_err() {
        log::line("warn", "calls were cut off", json!({ "drain_seconds": DRAIN_LIMIT.as_secs() }));
    }
}

fn connection<H: HealthService>(
    stream: TcpStream,
    door: Door<H>,
) -> http2::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::HttpService<Incoming, ResBody = Body, Error = Lost, Future: Send>,
    TokioExecutor,
> {
    // Without it, small replies wait for the peer's acknowledgements.
    stream.set_nodelay(true).ok();
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(PENDING_RESETS)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_LIMIT)
        .serve_connection(TokioIo::new(stream), service_fn(move |request| door.clone().call(request)))
}

/// tonic-health's service, whose type has no name.
trait HealthService:
    Service<Request<Incoming>, Response = Response<Body>, Error = std::convert::Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<T> HealthService for T where
    T: Service<Request<Incoming>, Response = Response<Body>, Error = std::convert::Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Everything that is reachable, by path.
#[derive(Clone)]
struct Door<H> {
    network: AcquirerServiceServer<Network>,
    health: H,
    telemetry: Telemetry,
}

impl<H: HealthService> Door<H> {
    async fn call(mut self, request: Request<Incoming>) -> Result<Response<Body>, Lost> {
        let path = request.uri().path();
        let Some(rpc) = rpc(path) else {
            return if path.starts_with("/grpc.health.v1.Health/") {
                self.health.call(request).await.map_err(|never| match never {})
            } else {
                Ok(Status::unimplemented("there is no such call").into_http())
            };
        };
        let span = self.telemetry.start(rpc, request.headers());
        let response = self.network.call(request).await.unwrap_or_else(|never| match never {});
        if response.extensions().get::<ReplyLost>().is_some() {
            span.end(Code::Internal);
            return Err(Lost);
        }
        // Only an error has its status in the headers.
        span.end(response.extensions().get::<Status>().map_or(Code::Ok, Status::code));
        Ok(response)
    }
}

/// The name of a call, without the slash in front.
fn rpc(path: &str) -> Option<&'static str> {
    const RPCS: [&str; 7] = [
        "acquirer.v1.AcquirerService/ProvisionToken",
        "acquirer.v1.AcquirerService/Authorize",
        "acquirer.v1.AcquirerService/Sale",
        "acquirer.v1.AcquirerService/Capture",
        "acquirer.v1.AcquirerService/Void",
        "acquirer.v1.AcquirerService/Refund",
        "acquirer.v1.AcquirerService/GetOperation",
    ];
    let name = path.strip_prefix('/')?;
    RPCS.into_iter().find(|rpc| *rpc == name)
}

/// As an error of the service it makes hyper reset the one stream, with INTERNAL_ERROR.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the reply is lost on purpose")
    }
}

impl std::error::Error for Lost {}
