//! What every request passes, in the contract's order of checks: path, (the router's) method, content type, declared size,
//! credential, deadline, key, body.

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use http_body_util::BodyExt as _;
use opentelemetry::KeyValue;
use tokio::time::Instant;
use tracing::{Span, debug, error, warn};
use zeroize::Zeroizing;

use super::{
    body::{self, MAX_BODY, Unread},
    error::{Failed, refused},
    query::Query,
    router::{BARE, NAMED},
    stream::Lasting,
};
use crate::{
    domain::{
        error::{Error, Reason, Rule, Violations},
        id::{MerchantId, RequestId},
    },
    telemetry::{Call, Metrics, OTHER_METHOD, Trace, panicked, spans},
    usecase::{authenticate::Caller, deadline, idempotency::IdempotencyKey, payments::Payments},
};

const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout-ms");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Span, trace and arrival of the request, for its handler.
#[derive(Clone)]
struct Seen {
    span: Span,
    trace: Trace,
    arrived: Instant,
}

/// Checks the path, gives the request its span and its id, and tells metrics and log what became of it.
pub async fn observe(State(metrics): State<Arc<Metrics>>, mut request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path());
    let bare = BARE.contains(&path);
    let no_store = path.starts_with("/v1/");
    let good = is_plain(path);
    let route = request.extensions().get::<MatchedPath>().filter(|_| good).map(MatchedPath::as_str);
    let route = NAMED.iter().copied().find(|named| route == Some(*named));
    let span = if bare { Span::none() } else { spans::http(known(&method), route) };
    let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace = spans::join(&span, traceparent);

    let unread = Unread::default();
    request = request.map(|body| unread.watch(body));
    let keeps_alive = request.version() <= Version::HTTP_11;
    let mut response = if good {
        let seen = Seen { span: span.clone(), trace, arrived };
        request.extensions_mut().insert(seen);
        match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => refused(&Error::Internal(panicked(panic.as_ref()))),
        }
    } else {
        refused(&Error::RouteNotFound)
    };

    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(RequestId::fresh().to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    // hyper closes such a connection without a word, and the client's next request would die on it.
    if keeps_alive && !unread.drained().await {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if no_store {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if bare {
        return response;
    }
    let failed = response.extensions().get::<Failed>().cloned();
    let status = response.status().as_u16();
    let seen = Seen { span, trace, arrived };
    let ended = Ended { metrics, method, route, status, failed, seen };
    if response.extensions().get::<Lasting>().is_some() {
        return response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _until_dropped = &ended;
                frame
            }))
        });
    }
    drop(ended);
    response
}

/// Reports when it is dropped: with the last byte of a body that lasts, else before the first.
struct Ended {
    metrics: Arc<Metrics>,
    method: Method,
    route: Option<&'static str>,
    status: u16,
    failed: Option<Failed>,
    seen: Seen,
}

impl Drop for Ended {
    fn drop(&mut self) {
        report(self);
    }
}

fn report(ended: &Ended) {
    let Ended { metrics, method, route, status, failed, seen } = ended;
    let Seen { span, trace, arrived } = seen;
    let (status, route, took) = (*status, *route, arrived.elapsed());
    span.record("http.response.status_code", i64::from(status));
    if let Some(Failed { reason, cause }) = failed {
        span.record("twinpay.reason", reason.as_str());
        if status >= 500 {
            spans::fail(span, reason.as_str());
            let (trace_id, span_id) = (trace.trace_id(), trace.span_id());
            let (method, reason, error) = (method.as_str(), reason.as_str(), cause.as_deref());
            // What is shed is no surprise, and comes by the thousand.
            if reason == Reason::Overloaded.as_str() {
                warn!(trace_id, span_id, method, route, status, reason, error, "request failed");
            } else {
                error!(trace_id, span_id, method, route, status, reason, error, "request failed");
            }
        }
    }
    let fault = failed.as_ref().filter(|_| status >= 500).map(|failed| failed.reason.as_str());
    let mut attributes = vec![
        KeyValue::new("http.request.method", known(method)),
        KeyValue::new("http.response.status_code", i64::from(status)),
    ];
    if let Some(route) = route {
        attributes.push(KeyValue::new("http.route", route));
    }
    if let Some(reason) = fault {
        attributes.push(KeyValue::new("error.type", reason));
    }
    spans::end(span);
    metrics.http_duration.record(took.as_secs_f64(), &attributes);
    debug!(
        trace_id = trace.trace_id(),
        span_id = trace.span_id(),
        method = method.as_str(),
        route,
        status,
        duration_ms = took.as_secs_f64() * 1000.0,
        "request"
    );
}

/// Anybody can invent methods; spans and metrics hold the known ones.
fn known(method: &Method) -> &'static str {
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"]
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or(OTHER_METHOD)
}

/// Routers differ on empty segments, dots and escapes, so no router sees them.
fn is_plain(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|path| {
        path.split('/').all(|segment| !matches!(segment, "" | "." | "..") && !segment.contains('%'))
    })
}

/// A request that may be read.
pub struct Admitted {
    /// What goes down with it.
    pub call: Call,
    /// Who asks.
    pub caller: Caller,
    /// The parameters.
    pub query: Query,
    /// What the query already broke.
    pub violations: Violations,
    headers: HeaderMap,
    body: Body,
    body_until: Instant,
    path: String,
}

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The administrator alone.
    Admin,
    /// A merchant alone.
    Merchant,
}

impl Admitted {
    /// Everything that is checked before a body is read, of an operation without parameters.
    pub async fn new(payments: &Payments, request: Request, scope: Scope) -> Result<Self, Error> {
        Self::with(payments, request, scope, &[]).await
    }

    /// The same of an operation that has these parameters.
    pub async fn with(
        payments: &Payments,
        request: Request,
        scope: Scope,
        parameters: &[&'static str],
    ) -> Result<Self, Error> {
        let (mut parts, body) = request.into_parts();
        let Some(seen) = parts.extensions.remove::<Seen>() else {
            return Err(Error::Internal("a request passed unobserved".into()));
        };
        if parts.method == Method::POST {
            check_content(&parts.headers)?;
        }
        let timeout = parts.headers.get_all(REQUEST_TIMEOUT);
        let deadline = deadline::from_http(timeout.iter().map(HeaderValue::as_bytes), seen.arrived);
        // A deadline that is malformed or already over is told after the credential.
        let until = match &deadline {
            Ok(deadline) if *deadline > seen.arrived => *deadline,
            Ok(_) | Err(_) => deadline::default(seen.arrived),
        };
        let mut call = Call { deadline: until, span: seen.span, trace: seen.trace };
        let credentials = parts.headers.get_all(header::AUTHORIZATION);
        let caller = payments.authenticate(&call, credentials.iter().map(HeaderValue::as_bytes)).await?;
        match scope {
            Scope::Admin => caller.admin()?,
            Scope::Merchant => caller.merchant().map(|_| ())?,
        }
        payments.limit(caller).await?;
        call.deadline = deadline?;
        if call.is_over() {
            return Err(Error::DeadlineExceeded);
        }
        let (query, violations) = Query::parse(parts.uri.query(), parameters);
        let path = parts.uri.path().to_owned();
        let body_until = seen.arrived + payments.settings.body_limit;
        let headers = parts.headers;
        Ok(Self { call, caller, query, violations, headers, body, body_until, path })
    }

    /// Whose request this is.
    pub fn merchant(&self) -> Result<MerchantId, Error> {
        self.caller.merchant()
    }

    /// The id in the path: its third segment.
    pub fn path_id(&self) -> &str {
        self.path.split('/').nth(3).unwrap_or_default()
    }

    /// The idempotency key, if there is one.
    pub fn key(&self) -> Result<Option<IdempotencyKey>, Error> {
        let values = self.headers.get_all(IDEMPOTENCY_KEY);
        IdempotencyKey::parse(values.iter().map(HeaderValue::as_bytes))
    }

    /// The idempotency key.
    pub fn required_key(&self) -> Result<IdempotencyKey, Error> {
        self.key()?.ok_or(Error::IdempotencyKeyMissing)
    }

    /// The sequence after which a stream resumes, as browsers send it; one that isn't a number is a violation.
    pub fn last_event_id(&self, violations: &mut Violations) -> Option<i64> {
        let mut values = self.headers.get_all(LAST_EVENT_ID).iter();
        let value = values.next()?;
        let number = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let number = number.and_then(|text| text.parse().ok()).filter(|_| values.next().is_none());
        if number.is_none() {
            violations.add("last_event_id", Rule::Malformed);
        }
        number
    }

    /// The whole body; wiped when dropped, since it may hold a card.
    pub async fn body(&mut self) -> Result<Zeroizing<Vec<u8>>, Error> {
        body::read(&mut self.body, declared(&self.headers), self.body_until, self.call.deadline).await
    }
}

fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_content(headers: &HeaderMap) -> Result<(), Error> {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let json = match (kinds.next(), kinds.next()) {
        (Some(kind), None) => {
            let kind = kind.as_bytes().split(|b| *b == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
        }
        (_, _) => false,
    };
    if !json {
        return Err(Error::UnsupportedMediaType);
    }
    if declared(headers).is_some_and(|length| length > MAX_BODY) {
        return Err(Error::PayloadTooLarge);
    }
    Ok(())
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
        let mut router = axum::Router::new().route("/v1/payments", axum::routing::get(broken)).layer(layer);
        let request = Request::builder().uri("/v1/payments").body(Body::empty()).unwrap();
        let response = router.call(request).await.unwrap();
        assert_eq!(response.status(), 500);
        let failed = response.extensions().get::<Failed>().unwrap();
        assert_eq!(failed.reason, Reason::Internal);
        assert_eq!(failed.cause.as_deref(), Some("a handler panicked: on purpose"));
        let told = prometheus::TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
        assert!(told.contains(r#"http_response_status_code="500""#), "{told}");
        assert!(told.contains(r#"error_type="INTERNAL""#), "{told}");
    }

    #[test]
    fn an_invented_method_has_no_name_of_its_own() {
        assert_eq!((known(&Method::TRACE), known(&Method::CONNECT)), ("TRACE", "CONNECT"));
        assert_eq!(known(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
        assert_eq!(known(&Method::from_bytes(b"get").unwrap()), "_OTHER");
    }

    #[test]
    fn only_plain_paths_pass() {
        for good in ["/v1/payments", "/a;b", "/é", "/.a/...", "/v1/payments/pay_x/capture"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in
            ["", "*", "/", "//", "/v1//payments", "/v1/payments/", "/v1/../x", "/./x", "/v1/%70ayments", "/%"]
        {
            assert!(!is_plain(bad), "{bad}");
        }
    }

    #[test]
    fn a_content_type_is_json_once_with_any_parameters() {
        let check = |kinds: &[&str]| {
            let mut headers = HeaderMap::new();
            for kind in kinds {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
            }
            check_content(&headers).is_ok()
        };
        for good in ["application/json", "Application/JSON ; charset=utf-8", "application/json;x"] {
            assert!(check(&[good]), "{good}");
        }
        for bad in [
            "",
            "text/json",
            "application/jsonx",
            "application/json, application/json",
            "application/problem+json",
        ] {
            assert!(!check(&[bad]), "{bad}");
        }
        assert!(!check(&[]) && !check(&["application/json", "application/json"]));
    }
}
