//! Every route on one screen.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    middleware::from_fn_with_state,
    routing::{self, MethodRouter},
};

use super::{handlers, middleware};
use crate::{telemetry::Metrics, usecase::payments::Payments};

/// What all handlers share.
pub type Shared = Arc<Payments>;

const MERCHANTS: &str = "/v1/merchants";
const API_KEYS: &str = "/v1/merchants/{merchant_id}/api_keys";
const PAYMENT_TOKENS: &str = "/v1/payment_tokens";
const API_KEY_REVOKE: &str = "/v1/api_keys/{id}/revoke";
const PAYMENT_TOKEN: &str = "/v1/payment_tokens/{id}";
const PAYMENTS: &str = "/v1/payments";
const PAYMENT: &str = "/v1/payments/{id}";
const CAPTURE: &str = "/v1/payments/{id}/capture";
const VOID: &str = "/v1/payments/{id}/void";
const PAYMENT_REFUNDS: &str = "/v1/payments/{id}/refunds";
const REFUNDS: &str = "/v1/refunds";
const REFUND: &str = "/v1/refunds/{id}";
const BALANCES: &str = "/v1/balances";
const LEDGER_ENTRIES: &str = "/v1/ledger/entries";
const EVENTS: &str = "/v1/events";
const EVENT_STREAM: &str = "/v1/events/stream";
const WEBHOOK_ENDPOINTS: &str = "/v1/webhook_endpoints";
const WEBHOOK_ENDPOINT: &str = "/v1/webhook_endpoints/{id}";
const LIVEZ: &str = "/livez";
const OPENAPI: &str = "/openapi.json";

/// The bare handlers: no span, no metric.
pub const BARE: [&str; 2] = [LIVEZ, OPENAPI];

/// The routes that spans and metrics name.
pub const NAMED: &[&str] = &[
    MERCHANTS,
    API_KEYS,
    API_KEY_REVOKE,
    PAYMENT_TOKENS,
    PAYMENT_TOKEN,
    PAYMENTS,
    PAYMENT,
    CAPTURE,
    VOID,
    PAYMENT_REFUNDS,
    REFUNDS,
    REFUND,
    BALANCES,
    LEDGER_ENTRIES,
    EVENTS,
    EVENT_STREAM,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_ENDPOINT,
];

/// The routes, inside of what every request passes.
pub fn router(payments: Shared, metrics: Arc<Metrics>) -> Router {
    Router::new()
        // the administrator
        .route(MERCHANTS, post(handlers::create_merchant))
        .route(API_KEYS, post(handlers::create_api_key))
        .route(API_KEY_REVOKE, post(handlers::revoke_api_key))
        // merchants
        .route(PAYMENT_TOKENS, post(handlers::create_payment_token))
        .route(PAYMENT_TOKEN, get(handlers::get_payment_token))
        .route(PAYMENTS, get_or_post(handlers::list_payments, handlers::create_payment))
        .route(PAYMENT, get(handlers::get_payment))
        .route(CAPTURE, post(handlers::capture_payment))
        .route(VOID, post(handlers::void_payment))
        .route(PAYMENT_REFUNDS, post(handlers::create_refund))
        .route(REFUNDS, get(handlers::list_refunds))
        .route(REFUND, get(handlers::get_refund))
        .route(BALANCES, get(handlers::get_balances))
        .route(LEDGER_ENTRIES, get(handlers::list_ledger_entries))
        .route(EVENTS, get(handlers::list_events))
        .route(EVENT_STREAM, get(handlers::watch_events))
        .route(
            WEBHOOK_ENDPOINTS,
            get_or_post(handlers::list_webhook_endpoints, handlers::create_webhook_endpoint),
        )
        .route(WEBHOOK_ENDPOINT, delete(handlers::delete_webhook_endpoint))
        // anybody
        .route(LIVEZ, get(handlers::live))
        .route(OPENAPI, get(handlers::openapi))
        .fallback(handlers::route_not_found)
        .layer(from_fn_with_state(metrics, middleware::observe))
        .with_state(payments)
}

fn post<H: Handler<T, Shared>, T: 'static>(handler: H) -> MethodRouter<Shared> {
    routing::post(handler).fallback(|| handlers::method_not_allowed("POST"))
}

fn delete<H: Handler<T, Shared>, T: 'static>(handler: H) -> MethodRouter<Shared> {
    routing::delete(handler).fallback(|| handlers::method_not_allowed("DELETE"))
}

/// axum would answer HEAD by a GET of its own; the contract has none.
fn get<H: Handler<T, Shared>, T: 'static>(handler: H) -> MethodRouter<Shared> {
    let refuse = || handlers::method_not_allowed("GET");
    routing::get(handler).head(refuse).fallback(refuse)
}

fn get_or_post<H, T, I, U>(get: H, post: I) -> MethodRouter<Shared>
where
    H: Handler<T, Shared>,
    T: 'static,
    I: Handler<U, Shared>,
    U: 'static,
{
    let refuse = || handlers::method_not_allowed("GET, POST");
    routing::get(get).post(post).head(refuse).fallback(refuse)
}
