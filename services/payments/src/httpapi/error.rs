//! What a use case returned, as an HTTP response. The table of statuses and texts is [`crate::reply::text`], since stored replies
//! are rendered from it too.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::{
    domain::error::{Error, Reason},
    reply::{self, Reply},
    telemetry::chain,
};

/// Beside an error response, for the span and the log.
#[derive(Clone)]
pub struct Failed {
    /// Why.
    pub reason: Reason,
    /// What lies behind it; never sent.
    pub cause: Option<String>,
}

/// A reply's bytes, or an error's.
pub fn respond(result: Result<Reply, Error>) -> Response {
    match result {
        Ok(reply) => stored(reply),
        Err(error) => refused(&error),
    }
}

fn stored(reply: Reply) -> Response {
    let reason = reply.reason();
    let mut response = plain(reply.status, reason, reply.body);
    if reply.replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    if let Some(reason) = reason {
        response.extensions_mut().insert(Failed { reason, cause: None });
    }
    response
}

/// An error that nothing is stored of.
pub fn refused(error: &Error) -> Response {
    let reason = error.reason();
    let text = reply::text(reason);
    let mut response = plain(text.status, Some(reason), reply::problem(error));
    let headers = response.headers_mut();
    if let Some(seconds) = text.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Error::MethodNotAllowed(allow) = error {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if let Error::Unauthenticated = error {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let cause = error.cause().map(|cause| chain(cause.as_ref()));
    response.extensions_mut().insert(Failed { reason, cause });
    response
}

fn plain(status: u16, reason: Option<Reason>, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if response.status() == StatusCode::NO_CONTENT {
        // hyper would tell a known length over HTTP/2, which RFC 9110 forbids here.
        *response.body_mut() = Body::from_stream(futures::stream::empty::<Result<Bytes, Infallible>>());
        return response;
    }
    let kind = if reason.is_some() { "application/problem+json" } else { "application/json" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_carry_the_headers_that_belong_to_them() {
        let header = |error: &Error, name: &str| {
            refused(error).headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header(&Error::Unauthenticated, "www-authenticate").as_deref(), Some("Bearer"));
        assert_eq!(header(&Error::MethodNotAllowed("GET"), "allow").as_deref(), Some("GET"));
        assert_eq!(header(&Error::IdempotencyInProgress, "retry-after").as_deref(), Some("1"));
        assert_eq!(header(&Error::MalformedBody, "retry-after"), None);
        assert_eq!(
            header(&Error::MalformedBody, "content-type").as_deref(),
            Some("application/problem+json")
        );
        let internal = refused(&Error::Internal("secret".into()));
        assert_eq!(internal.status(), 500);
        assert_eq!(internal.extensions().get::<Failed>().unwrap().cause.as_deref(), Some("secret"));
    }
}
