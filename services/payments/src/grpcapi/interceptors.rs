//! What every call passes: span, request id, metrics; then credential, deadline, key. tonic's own refusals are rewritten to ours.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request as HttpRequest, State},
    middleware::Next,
    response::Response as HttpResponse,
};
use futures::{FutureExt as _, stream};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, StreamBody};
use opentelemetry::KeyValue;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Request, Response, Status, metadata::MetadataValue};
use tonic_types::StatusExt as _;
use tracing::{Span, debug, error, warn};

use super::error::{refused, stored};
use crate::{
    acquirer::code_name,
    domain::{
        error::{Error, Reason},
        id::{MerchantId, RequestId},
    },
    reply::{self, Reply, Unreadable},
    telemetry::{Call, Metrics, Trace, chain, panicked, spans},
    usecase::{authenticate::Caller, deadline, idempotency::IdempotencyKey, payments::Payments},
};

/// The methods that spans and metrics name.
const METHODS: &[&str] = &[
    "payments.v1.AdminService/CreateMerchant",
    "payments.v1.AdminService/CreateApiKey",
    "payments.v1.VaultService/CreatePaymentToken",
    "payments.v1.PaymentService/CreatePayment",
    "payments.v1.PaymentService/CapturePayment",
    "payments.v1.PaymentService/VoidPayment",
    "payments.v1.PaymentService/GetPayment",
    "payments.v1.PaymentService/CreateRefund",
    "payments.v1.PaymentService/GetRefund",
    "payments.v1.PaymentService/ListPayments",
    "payments.v1.PaymentService/ListRefunds",
    "payments.v1.AdminService/RevokeApiKey",
    "payments.v1.VaultService/GetPaymentToken",
    "payments.v1.LedgerService/GetBalances",
    "payments.v1.LedgerService/ListLedgerEntries",
    "payments.v1.EventService/ListEvents",
    WATCH_EVENTS,
    "payments.v1.WebhookService/CreateWebhookEndpoint",
    "payments.v1.WebhookService/ListWebhookEndpoints",
    "payments.v1.WebhookService/DeleteWebhookEndpoint",
];

/// The one whose answer lasts.
const WATCH_EVENTS: &str = "payments.v1.EventService/WatchEvents";

/// Span, trace and arrival of the call, for its handler.
#[derive(Clone)]
pub struct Seen {
    method: &'static str,
    span: Span,
    trace: Trace,
    arrived: Instant,
}

/// Gives the call its span and its id, and tells metrics what became of it.
pub async fn observe(
    State(metrics): State<Arc<Metrics>>,
    mut request: HttpRequest,
    next: Next,
) -> HttpResponse {
    let arrived = Instant::now();
    let path = request.uri().path().strip_prefix('/').unwrap_or_default();
    let library = path.starts_with("grpc.health.v1.") || path.starts_with("grpc.reflection.v1.");
    // Anybody can invent methods: those have no span and no metric, as health and reflection.
    let known = METHODS.iter().copied().find(|method| *method == path);
    let span = known.map_or_else(Span::none, spans::grpc);
    let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace = spans::join(&span, traceparent);
    let seen = Seen { method: known.unwrap_or_default(), span: span.clone(), trace, arrived };
    request.extensions_mut().insert(seen.clone());

    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => seen.refuse(&Error::Internal(panicked(panic.as_ref()))).into_http::<Body>(),
    };
    if !library && let Some(ours) = rewrite(&response, known.is_some()) {
        response = ours.into_http::<Body>();
    }
    if let Ok(id) = HeaderValue::try_from(RequestId::fresh().to_string()) {
        response.headers_mut().insert("request-id", id);
    }
    if let Some(method) = known {
        let status = response.extensions().get::<Status>().cloned();
        if method == WATCH_EVENTS && status.is_none() {
            let gone = Some(Status::cancelled("the client has gone"));
            let mut ended = Ended { metrics, status: gone, seen };
            return response.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    frame.trailers_ref().inspect(|trailers| ended.with(trailers));
                    frame
                }))
            });
        }
        drop(Ended { metrics, status, seen });
    }
    response
}

/// The request with a message that must be whole before the body's time is over, and before the call's deadline: tonic waits for it for
/// ever. What fails here is the call's answer.
pub fn in_time(request: HttpRequest, limit: Duration) -> HttpRequest {
    let Some(seen) = request.extensions().get::<Seen>().cloned() else { return request };
    let late = seen.arrived + limit;
    let timeout = request.headers().get("grpc-timeout").map(HeaderValue::as_bytes);
    let deadline = deadline::from_grpc(timeout, seen.arrived);
    request.map(|body| {
        let frames = stream::unfold(Some((body, seen)), move |reading: Option<(Body, Seen)>| async move {
            let (mut body, seen) = reading?;
            if let Ok(frame) = timeout_at(late.min(deadline), body.frame()).await {
                return Some((frame?, Some((body, seen))));
            }
            let error = if deadline < late { Error::DeadlineExceeded } else { Error::RequestTimeout };
            // Of health nothing is told, as when it answers.
            let status = if seen.method.is_empty() { refused(&error) } else { seen.refuse(&error) };
            Some((Err(axum::Error::new(status)), None))
        });
        Body::new(StreamBody::new(frames))
    })
}

/// Reports when it is dropped: at the end of an answer that lasts, else when it is there.
struct Ended {
    metrics: Arc<Metrics>,
    status: Option<Status>,
    seen: Seen,
}

impl Ended {
    fn with(&mut self, trailers: &HeaderMap) {
        self.status = Status::from_header_map(trailers);
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let Seen { method, span, trace, arrived } = &self.seen;
        report(&self.metrics, method, self.status.as_ref(), span, *trace, arrived.elapsed());
    }
}

/// tonic says OUT_OF_RANGE of a message over the limit, INTERNAL of one that it can't read, and UNIMPLEMENTED of an unknown method, in
/// a header as all statuses before a message, and without details, which all of ours have.
fn rewrite(response: &HttpResponse, known: bool) -> Option<Status> {
    let headers = response.headers();
    let code = Code::from_bytes(headers.get("grpc-status")?.as_bytes());
    if headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    if code == Code::OutOfRange {
        return Some(refused(&Error::PayloadTooLarge));
    }
    if code == Code::Internal {
        return Some(refused(&Error::MalformedBody));
    }
    (code == Code::Unimplemented && !known).then(|| refused(&Error::RouteNotFound))
}

fn report(
    metrics: &Metrics,
    method: &'static str,
    status: Option<&Status>,
    span: &Span,
    trace: Trace,
    took: Duration,
) {
    let code = status.map_or(Code::Ok, Status::code);
    let name = code_name(code);
    span.record("rpc.response.status_code", name);
    let info = status.and_then(|status| status.get_details_error_info());
    if let Some(info) = &info {
        span.record("twinpay.reason", info.reason.as_str());
    }
    let mut attributes = vec![
        KeyValue::new("rpc.system.name", "grpc"),
        KeyValue::new("rpc.method", method),
        KeyValue::new("rpc.response.status_code", name),
    ];
    if is_fault(code) {
        let kind = info.map_or_else(|| name.to_owned(), |info| info.reason);
        spans::fail(span, &kind);
        attributes.push(KeyValue::new("error.type", kind));
    }
    spans::end(span);
    metrics.rpc_duration.record(took.as_secs_f64(), &attributes);
    debug!(
        trace_id = trace.trace_id(),
        span_id = trace.span_id(),
        rpc = method,
        status = name,
        duration_ms = took.as_secs_f64() * 1000.0,
        "request"
    );
}

/// The codes that are a server's fault (OpenTelemetry semantic conventions).
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The administrator alone.
    Admin,
    /// A merchant alone.
    Merchant,
}

/// A call whose message may be looked at.
pub struct Admitted {
    /// What goes down with it.
    pub call: Call,
    caller: Caller,
    key: Result<Option<IdempotencyKey>, Error>,
}

impl Admitted {
    /// Whose call this is.
    pub fn merchant(&self) -> Result<MerchantId, Error> {
        self.caller.merchant()
    }

    /// The idempotency key, if there is one.
    pub fn key(&mut self) -> Result<Option<IdempotencyKey>, Error> {
        std::mem::replace(&mut self.key, Ok(None))
    }

    /// The idempotency key.
    pub fn required_key(&mut self) -> Result<IdempotencyKey, Error> {
        self.key()?.ok_or(Error::IdempotencyKeyMissing)
    }
}

impl Seen {
    /// What [`observe`] left for the handler.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let seen = request.extensions().get::<Self>().cloned();
        seen.ok_or_else(|| refused(&Error::Internal("a call passed unobserved".into())))
    }

    /// Everything that is checked before the message is.
    pub async fn admit<T>(
        &self,
        payments: &Payments,
        request: &Request<T>,
        scope: Scope,
    ) -> Result<Admitted, Error> {
        let metadata = request.metadata();
        let timeout = metadata.get("grpc-timeout").map(MetadataValue::as_encoded_bytes);
        let deadline = deadline::from_grpc(timeout, self.arrived);
        let mut call = Call { deadline, span: self.span.clone(), trace: self.trace };
        if call.is_over() {
            call.deadline = deadline::default(self.arrived);
        }
        let credentials = metadata.get_all("authorization").into_iter();
        let caller = payments.authenticate(&call, credentials.map(MetadataValue::as_encoded_bytes)).await?;
        match scope {
            Scope::Admin => caller.admin()?,
            Scope::Merchant => caller.merchant().map(|_| ())?,
        }
        payments.limit(caller).await?;
        call.deadline = deadline;
        if call.is_over() {
            return Err(Error::DeadlineExceeded);
        }
        let keys = metadata.get_all("idempotency-key").into_iter();
        let key = IdempotencyKey::parse(keys.map(MetadataValue::as_encoded_bytes));
        Ok(Admitted { call, caller, key })
    }

    /// An error as a status; what is our fault is logged here, once.
    pub fn refuse(&self, error: &Error) -> Status {
        let reason = error.reason();
        if reply::text(reason).status >= 500 {
            let cause = error.cause().map(|cause| chain(cause.as_ref()));
            let (trace_id, span_id) = (self.trace.trace_id(), self.trace.span_id());
            let (rpc, status) = (self.method, code_name(super::error::code(reason)));
            let (reason, error) = (reason.as_str(), cause);
            // What is shed is no surprise, and comes by the thousand.
            if reason == Reason::Overloaded.as_str() {
                warn!(trace_id, span_id, rpc, status, reason, error, "request failed");
            } else {
                error!(trace_id, span_id, rpc, status, reason, error, "request failed");
            }
        }
        refused(error)
    }

    /// A stored reply as a message, or as the status of its problem; `payment` is the one that the call names.
    pub fn answer<T>(
        &self,
        result: Result<Reply, Error>,
        payment: Option<&str>,
        decode: impl FnOnce(&str) -> Result<T, Unreadable>,
    ) -> Result<Response<T>, Status> {
        let reply = result.map_err(|error| self.refuse(&error))?;
        if reply.status >= 400 {
            return Err(stored(&reply, payment));
        }
        let message = decode(&reply.body).map_err(|error| self.refuse(&Error::Internal(error.into())))?;
        let mut response = Response::new(message);
        if reply.replayed {
            response.metadata_mut().insert("idempotency-replayed", MetadataValue::from_static("true"));
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_internal_error_that_is_counted() {
        use tower::Service as _;
        async fn broken() -> &'static str {
            panic!("on purpose")
        }
        let metrics = Metrics::new().unwrap();
        let layer = axum::middleware::from_fn_with_state(metrics.clone(), observe);
        let path = format!("/{}", METHODS[3]);
        let mut router = axum::Router::new().route(&path, axum::routing::post(broken)).layer(layer);
        let request = HttpRequest::builder().method("POST").uri(path).body(Body::empty()).unwrap();
        let response = router.call(request).await.unwrap();
        let status = response.extensions().get::<Status>().unwrap();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.get_details_error_info().unwrap().reason, "INTERNAL");
        let told = prometheus::TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
        assert!(told.contains(r#"rpc_response_status_code="INTERNAL""#), "{told}");
        assert!(told.contains(r#"error_type="INTERNAL""#), "{told}");
    }
}
