//! The protocol: <https://opentelemetry.io/docs/specs/otlp/>, version 1.9, for traces.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use flate2::read::MultiGzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Code, Request, Status};

use super::LONGEST;
use super::lenient::{self, Batch};

/// Requests that are read or kept at a time; others wait unread, so that memory doesn't grow with the senders.
const AT_ONCE: usize = 8;
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Spans that were sent and not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many.
    pub spans: usize,
    /// For the sender, where there are any.
    pub why: String,
}

/// What keeps spans. It bounds what it holds: it has the sender wait, or refuses.
#[tonic::async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Takes what was sent in one request.
    async fn take(&self, sent: Vec<ResourceSpans>) -> Refused;
}

/// Keeps nothing.
#[derive(Debug)]
pub struct Discard;

#[tonic::async_trait]
impl Sink for Discard {
    async fn take(&self, _: Vec<ResourceSpans>) -> Refused {
        Refused::default()
    }
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Server {
    endpoint: String,
    serving: JoinHandle<std::io::Result<()>>,
    /// Dropped: it shall end.
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// Listens on `address`; port 0 is a free one.
    pub async fn start(address: SocketAddr, sink: Arc<dyn Sink>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // Only a delay is lost without.
            stream.set_nodelay(true).ok();
        });
        let grpc = TraceServiceServer::new(OverGrpc(Arc::clone(&sink)))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(LONGEST);
        let http = post(over_http).layer(DefaultBodyLimit::max(LONGEST)).with_state(sink);
        let turns = from_fn_with_state(Arc::new(Semaphore::new(AT_ONCE)), in_turn);
        let router = Routes::new(grpc).into_axum_router().route("/v1/traces", http).layer(turns);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
            stopped.await.ok();
        });
        Ok(Self { endpoint, serving: tokio::spawn(serving.into_future()), stop: Some(stop) })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`, whichever protocol the exporter speaks.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Takes no more requests, and returns when those that came are answered.
    pub async fn stop(mut self) {
        self.stop.take();
        // It can't fail any more than by ending.
        (&mut self.serving).await.ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn in_turn(
    State(turns): State<Arc<Semaphore>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    // It is never closed.
    let _turn = turns.acquire().await.ok();
    next.run(request).await
}

async fn taken(sink: &dyn Sink, batch: Batch) -> ExportTraceServiceResponse {
    let Refused { mut spans, mut why } = sink.take(batch.spans).await;
    if let Some(odd) = batch.refused.first() {
        spans += batch.refused.len();
        why = if why.is_empty() { odd.clone() } else { format!("{why}; {odd}") };
    }
    let partial_success = (spans > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(spans).unwrap_or(i64::MAX),
        error_message: why,
    });
    ExportTraceServiceResponse { partial_success }
}

struct OverGrpc(Arc<dyn Sink>);

#[tonic::async_trait]
impl TraceService for OverGrpc {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans;
        Ok(tonic::Response::new(taken(&*self.0, Batch { spans, refused: Vec::new() }).await))
    }
}

/// The reply is in the request's own encoding.
async fn over_http(State(sink): State<Arc<dyn Sink>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(CONTENT_TYPE).and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let kind = match kind {
        PROTOBUF => PROTOBUF,
        JSON => JSON,
        _ => return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
    };
    let plain = match text(CONTENT_ENCODING) {
        None | Some("identity") => body.to_vec(),
        Some("gzip") => match gunzipped(&body) {
            Ok(plain) => plain,
            Err(error) => return refusal(kind, error.to_string()),
        },
        Some(_) => return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
    };
    let request = match kind {
        PROTOBUF => ExportTraceServiceRequest::decode(plain.as_slice())
            .map(|request| Batch { spans: request.resource_spans, refused: Vec::new() })
            .map_err(|error| error.to_string()),
        _ => json(&plain).map_err(|error| error.to_string()),
    };
    match request {
        Ok(batch) => accepted(kind, taken(&*sink, batch).await),
        Err(problem) => refusal(kind, problem),
    }
}

/// A batch that can't be read at once is read span by span.
fn json(plain: &[u8]) -> serde_json::Result<Batch> {
    let error = match serde_json::from_slice::<ExportTraceServiceRequest>(plain) {
        Ok(request) => return Ok(Batch { spans: request.resource_spans, refused: Vec::new() }),
        Err(error) => error,
    };
    let whole = serde_json::from_slice::<Value>(plain).ok();
    whole.and_then(|mut whole| lenient::batch(whole.get_mut("resourceSpans")?.take())).ok_or(error)
}

fn gunzipped(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    let read = MultiGzDecoder::new(body).take(LONGEST as u64 + 1).read_to_end(&mut plain)?;
    if read > LONGEST {
        return Err(std::io::Error::other(format!("more than {LONGEST} bytes")));
    }
    Ok(plain)
}

fn accepted(kind: &'static str, reply: ExportTraceServiceResponse) -> Response {
    let bytes = match (kind, reply.partial_success) {
        (PROTOBUF, partial_success) => ExportTraceServiceResponse { partial_success }.encode_to_vec(),
        (_, None) => b"{}".to_vec(),
        (_, Some(ExportTracePartialSuccess { rejected_spans, error_message })) => {
            let partial = serde_json::json!({
                "rejectedSpans": rejected_spans.to_string(),
                "errorMessage": error_message,
            });
            serde_json::json!({ "partialSuccess": partial }).to_string().into_bytes()
        }
    };
    ([(CONTENT_TYPE, kind)], bytes).into_response()
}

/// As the protocol wants it: a `google.rpc.Status`.
fn refusal(kind: &'static str, message: String) -> Response {
    let code = Code::InvalidArgument as i32;
    let bytes = match kind {
        PROTOBUF => tonic_types::Status { code, message, details: Vec::new() }.encode_to_vec(),
        _ => serde_json::json!({ "code": code, "message": message }).to_string().into_bytes(),
    };
    (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, kind)], bytes).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;
    use http_body_util::{BodyExt, Full};
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};

    /// Keeps the names, and refuses the third span and what follows.
    #[derive(Default)]
    struct Names(Mutex<Vec<String>>);

    #[tonic::async_trait]
    impl Sink for Names {
        async fn take(&self, sent: Vec<ResourceSpans>) -> Refused {
            let mut names = self.0.lock().unwrap();
            let spans = sent.into_iter().flat_map(|sent| sent.scope_spans).flat_map(|scope| scope.spans);
            names.extend(spans.map(|span| span.name));
            let more = names.len().saturating_sub(2);
            names.truncate(2);
            Refused { spans: more, why: "enough".into() }
        }
    }

    fn request(names: &[&str]) -> ExportTraceServiceRequest {
        let span = |name: &&str| Span { name: (*name).into(), trace_id: vec![1; 16], ..Span::default() };
        let scope_spans =
            vec![ScopeSpans { spans: names.iter().map(span).collect(), ..ScopeSpans::default() }];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
        }
    }

    async fn started() -> (Server, Arc<Names>) {
        let names = Arc::new(Names::default());
        let server =
            Server::start(([127, 0, 0, 1], 0).into(), Arc::clone(&names) as Arc<dyn Sink>).await.unwrap();
        (server, names)
    }

    async fn sent(server: &Server, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, Bytes) {
        let mut request = http::Request::post(format!("{}/v1/traces", server.endpoint()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let reply = client.request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
        let status = reply.status().as_u16();
        (status, reply.into_body().collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn spans_come_over_grpc_plain_and_compressed() {
        let (server, names) = started().await;
        let mut client = TraceServiceClient::connect(server.endpoint().to_owned()).await.unwrap();
        let reply = client.export(request(&["one"])).await.unwrap().into_inner();
        assert_eq!(reply.partial_success, None);
        let mut client = client.send_compressed(CompressionEncoding::Gzip);
        let reply = client.export(request(&["two", "three"])).await.unwrap().into_inner();
        let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "enough".into() };
        assert_eq!(reply.partial_success, Some(partial));
        assert_eq!(*names.0.lock().unwrap(), ["one", "two"]);
    }

    #[tokio::test]
    async fn spans_come_over_http_in_protobuf_and_json_and_the_reply_is_in_the_same() {
        let (server, names) = started().await;
        let protobuf = request(&["one"]).encode_to_vec();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&protobuf).unwrap();
        let headers = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
        let (status, reply) = sent(&server, &headers, gzip.finish().unwrap()).await;
        assert_eq!((status, reply.as_ref()), (200, [].as_slice()));
        let json = serde_json::to_vec(&request(&["two", "three"])).unwrap();
        let (status, reply) =
            sent(&server, &[("content-type", "application/json; charset=utf-8")], json).await;
        let wanted = br#"{"partialSuccess":{"errorMessage":"enough","rejectedSpans":"1"}}"#;
        assert_eq!((status, reply.as_ref()), (200, wanted.as_slice()));
        assert_eq!(*names.0.lock().unwrap(), ["one", "two"]);
    }

    #[tokio::test]
    async fn an_odd_span_is_refused_alone() {
        let (server, names) = started().await;
        let mut json = serde_json::to_value(request(&["one", "odd"])).unwrap();
        json["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["traceId"] = "x".into();
        let (status, reply) = sent(&server, &[("content-type", JSON)], json.to_string().into_bytes()).await;
        let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
        assert_eq!((status, &reply["partialSuccess"]["rejectedSpans"]), (200, &"1".into()));
        let why = reply["partialSuccess"]["errorMessage"].as_str().unwrap();
        assert!(why.ends_with("in `odd`"), "{why}");
        assert_eq!(*names.0.lock().unwrap(), ["one"]);
    }

    #[tokio::test]
    async fn what_is_no_batch_of_spans_is_refused_with_why() {
        let (server, names) = started().await;
        let (status, reply) = sent(&server, &[("content-type", JSON)], b"{".to_vec()).await;
        let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
        assert_eq!((status, reply["code"].as_i64()), (400, Some(3)));
        assert!(reply["message"].as_str().unwrap().contains("EOF"), "{reply}");
        assert_eq!(sent(&server, &[("content-type", "text/plain")], vec![]).await.0, 415);
        let odd = [("content-type", JSON), ("content-encoding", "br")];
        assert_eq!(sent(&server, &odd, vec![]).await.0, 415);
        let broken = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
        assert_eq!(sent(&server, &broken, vec![1, 2, 3]).await.0, 400);
        assert!(names.0.lock().unwrap().is_empty());
    }
}
