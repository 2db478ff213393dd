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

/// The routes, inside of what every request passes.
pub fn router(payments: Shared, metrics: Arc<Metrics>) -> Router {
    Router::new()
        // the administrator
        .route("/v1/merchants", post(handlers::create_merchant))
        .route("/v1/merchants/{merchant_id}/api_keys", post(handlers::create_api_key))
        // merchants
        .route("/v1/payment_tokens", post(handlers::create_payment_token))
        .route("/v1/payments", post(handlers::create_payment))
        .route("/v1/payments/{id}", get(handlers::get_payment))
        .route("/v1/payments/{id}/capture", post(handlers::capture_payment))
        // anybody
        .route(middleware::LIVEZ, get(handlers::live))
        .fallback(handlers::route_not_found)
        .layer(from_fn_with_state(metrics, middleware::observe))
        .with_state(payments)
}

fn post<H: Handler<T, Shared>, T: 'static>(handler: H) -> MethodRouter<Shared> {
    routing::post(handler).fallback(|| handlers::method_not_allowed("POST"))
}

/// axum would answer HEAD by a GET of its own; the contract has none.
fn get<H: Handler<T, Shared>, T: 'static>(handler: H) -> MethodRouter<Shared> {
    let refuse = || handlers::method_not_allowed("GET");
    routing::get(handler).head(refuse).fallback(refuse)
}
