//! One function an operation: admit, read, call the use case, render.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderValue, header};
use tokio_util::sync::CancellationToken;

use super::{
    error::{refused, respond},
    middleware::{Admitted, Scope},
    router::Shared,
    stream, wire,
};
use crate::{
    domain::error::Error,
    reply::{self, Reply},
};

/// POST /v1/merchants
pub async fn create_merchant(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Admin).await?;
        let key = admitted.key()?;
        let command = wire::create_merchant(&admitted.body().await?)?;
        payments.create_merchant(&admitted.call, key, command, admitted.violations).await
    };
    respond(work.await)
}

/// POST /v1/merchants/{merchant_id}/api_keys
pub async fn create_api_key(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Admin).await?;
        wire::nothing(&admitted.body().await?)?;
        let violations = std::mem::take(&mut admitted.violations);
        let key = payments.create_api_key(&admitted.call, admitted.path_id(), violations).await?;
        Ok(Reply::fresh(201, reply::api_key(&key)))
    };
    respond(work.await)
}

/// POST /v1/api_keys/{id}/revoke
pub async fn revoke_api_key(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Admin).await?;
        wire::nothing(&admitted.body().await?)?;
        let violations = std::mem::take(&mut admitted.violations);
        let key = payments.revoke_api_key(&admitted.call, admitted.path_id(), violations).await?;
        Ok(Reply::fresh(200, reply::api_key(&key)))
    };
    respond(work.await)
}

/// POST /v1/payment_tokens
pub async fn create_payment_token(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let (merchant, key) = (admitted.merchant()?, admitted.required_key()?);
        let command = wire::create_payment_token(&admitted.body().await?)?;
        payments.tokenize(&admitted.call, merchant, key, command, admitted.violations).await
    };
    respond(work.await)
}

/// GET /v1/payment_tokens/{id}
pub async fn get_payment_token(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let (merchant, violations) = (admitted.merchant()?, std::mem::take(&mut admitted.violations));
        payments.get_payment_token(&admitted.call, merchant, admitted.path_id(), violations).await
    };
    respond(work.await)
}

/// POST /v1/payments
pub async fn create_payment(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let (merchant, key) = (admitted.merchant()?, admitted.required_key()?);
        let command = wire::create_payment(&admitted.body().await?)?;
        payments.create(admitted.call, merchant, key, command, admitted.violations).await
    };
    respond(work.await)
}

/// POST /v1/payments/{id}/capture
pub async fn capture_payment(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let (merchant, key) = (admitted.merchant()?, admitted.required_key()?);
        let body = admitted.body().await?;
        let command = wire::capture_payment(admitted.path_id(), &body)?;
        payments.capture(admitted.call, merchant, key, command, admitted.violations).await
    };
    respond(work.await)
}

/// POST /v1/payments/{id}/void
pub async fn void_payment(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let (merchant, key) = (admitted.merchant()?, admitted.required_key()?);
        wire::nothing(&admitted.body().await?)?;
        let violations = std::mem::take(&mut admitted.violations);
        payments.void(admitted.call.clone(), merchant, key, admitted.path_id(), violations).await
    };
    respond(work.await)
}

/// GET /v1/payments/{id}
pub async fn get_payment(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let (merchant, violations) = (admitted.merchant()?, std::mem::take(&mut admitted.violations));
        let payment = payments.get_payment(&admitted.call, merchant, admitted.path_id(), violations).await?;
        Ok(Reply::fresh(200, reply::payment(&payment)))
    };
    respond(work.await)
}

/// POST /v1/payments/{id}/refunds
pub async fn create_refund(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let (merchant, key) = (admitted.merchant()?, admitted.required_key()?);
        let body = admitted.body().await?;
        let command = wire::create_refund(admitted.path_id(), &body)?;
        payments.refund(admitted.call, merchant, key, command, admitted.violations).await
    };
    respond(work.await)
}

/// GET /v1/payments
pub async fn list_payments(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::with(&payments, request, Scope::Merchant, &wire::LIST_PAYMENTS).await?;
        let (merchant, mut violations) = (admitted.merchant()?, std::mem::take(&mut admitted.violations));
        let command = wire::list_payments(&mut admitted.query, &mut violations);
        let list = payments.list_payments(&admitted.call, merchant, command, violations).await?;
        Ok(Reply::fresh(200, reply::payments(&list.data, list.next.as_deref())))
    };
    respond(work.await)
}

/// POST /v1/webhook_endpoints
pub async fn create_webhook_endpoint(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let merchant = admitted.merchant()?;
        let url = wire::create_webhook_endpoint(&admitted.body().await?)?;
        let violations = std::mem::take(&mut admitted.violations);
        let made = payments.create_webhook_endpoint(&admitted.call, merchant, url, violations).await?;
        Ok(Reply::fresh(201, reply::webhook_endpoint(&made.endpoint, &made.secret)))
    };
    respond(work.await)
}

/// GET /v1/refunds/{id}
pub async fn get_refund(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let (merchant, violations) = (admitted.merchant()?, std::mem::take(&mut admitted.violations));
        let refund = payments.get_refund(&admitted.call, merchant, admitted.path_id(), violations).await?;
        Ok(Reply::fresh(200, reply::refund(&refund)))
    };
    respond(work.await)
}

/// GET /v1/refunds
pub async fn list_refunds(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::with(&payments, request, Scope::Merchant, &wire::LIST_REFUNDS).await?;
        let (merchant, mut violations) = (admitted.merchant()?, std::mem::take(&mut admitted.violations));
        let command = wire::list_refunds(&mut admitted.query, &mut violations);
        let list = payments.list_refunds(&admitted.call, merchant, command, violations).await?;
        Ok(Reply::fresh(200, reply::refunds(&list.data, list.next.as_deref())))
    };
    respond(work.await)
}

/// GET /v1/balances
pub async fn get_balances(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let merchant = admitted.merchant()?;
        let balances = payments.get_balances(&admitted.call, merchant, admitted.violations).await?;
        Ok(Reply::fresh(200, reply::balances(&balances)))
    };
    respond(work.await)
}

/// GET /v1/ledger/entries
pub async fn list_ledger_entries(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let parameters = &wire::LIST_LEDGER_ENTRIES;
        let mut admitted = Admitted::with(&payments, request, Scope::Merchant, parameters).await?;
        let (merchant, mut violations) = (admitted.merchant()?, std::mem::take(&mut admitted.violations));
        let command = wire::list_ledger_entries(&mut admitted.query, &mut violations);
        let list = payments.list_ledger_entries(&admitted.call, merchant, command, violations).await?;
        Ok(Reply::fresh(200, reply::entries(&list.data, list.next.as_deref())))
    };
    respond(work.await)
}

/// GET /v1/events
pub async fn list_events(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::with(&payments, request, Scope::Merchant, &wire::LIST_EVENTS).await?;
        let (merchant, mut violations) = (admitted.merchant()?, std::mem::take(&mut admitted.violations));
        let command = wire::list_events(&mut admitted.query, &mut violations);
        let list = payments.list_events(&admitted.call, merchant, command, violations).await?;
        Ok(Reply::fresh(200, reply::events(&list.data, list.next.as_deref())))
    };
    respond(work.await)
}

/// GET /v1/events/stream
pub async fn watch_events(State(payments): State<Shared>, request: Request) -> Response {
    let connection = request.extensions().get::<CancellationToken>().cloned().unwrap_or_default();
    let work = async {
        let mut admitted = Admitted::with(&payments, request, Scope::Merchant, &wire::WATCH_EVENTS).await?;
        let (merchant, mut violations) = (admitted.merchant()?, std::mem::take(&mut admitted.violations));
        let resumes = admitted.last_event_id(&mut violations);
        let command = wire::watch_events(resumes, &mut admitted.query, &mut violations);
        payments.watch_events(admitted.call, merchant, command, violations).await
    };
    match work.await {
        Ok(watch) => stream::respond(watch, connection),
        Err(error) => refused(&error),
    }
}

/// GET /v1/webhook_endpoints
pub async fn list_webhook_endpoints(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let parameters = &wire::LIST_WEBHOOK_ENDPOINTS;
        let mut admitted = Admitted::with(&payments, request, Scope::Merchant, parameters).await?;
        let (merchant, mut violations) = (admitted.merchant()?, std::mem::take(&mut admitted.violations));
        let page = wire::page(&mut admitted.query, &mut violations);
        let list = payments.list_webhook_endpoints(&admitted.call, merchant, page, violations).await?;
        Ok(Reply::fresh(200, reply::webhook_endpoints(&list.data, list.next.as_deref())))
    };
    respond(work.await)
}

/// DELETE /v1/webhook_endpoints/{id}
pub async fn delete_webhook_endpoint(State(payments): State<Shared>, request: Request) -> Response {
    let work = async {
        let mut admitted = Admitted::new(&payments, request, Scope::Merchant).await?;
        let (merchant, violations) = (admitted.merchant()?, std::mem::take(&mut admitted.violations));
        payments.delete_webhook_endpoint(&admitted.call, merchant, admitted.path_id(), violations).await?;
        Ok(Reply::fresh(204, String::new()))
    };
    respond(work.await)
}

/// GET /livez: no dependency is asked.
pub async fn live() -> Response {
    public(r#"{"status":"live"}"#)
}

/// GET /openapi.json: what this API is, the same bytes from both services.
pub async fn openapi() -> Response {
    public(include_str!("../../../../proto/openapi.json"))
}

fn public(body: &'static str) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A path that isn't one of ours.
pub async fn route_not_found() -> Response {
    refused(&Error::RouteNotFound)
}

/// A path of ours with another method.
pub async fn method_not_allowed(allow: &'static str) -> Response {
    refused(&Error::MethodNotAllowed(allow))
}
