//! Health, version, metrics and profiles, on a port that isn't for the public.

mod profiles;

use std::sync::Arc;

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{HeaderName, StatusCode, header};
use prometheus::TextEncoder;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use crate::telemetry::Metrics;

/// Whether work should be sent here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Readiness {
    /// The right schema was seen once; a later outage of the database doesn't take it back.
    pub schema_seen: bool,
    /// The end has begun.
    pub draining: bool,
}

impl Readiness {
    /// Whether it should.
    pub fn is_ready(self) -> bool {
        self.reasons().is_empty()
    }

    /// Why it shouldn't.
    pub fn reasons(self) -> Vec<&'static str> {
        [(!self.schema_seen, "schema_unseen"), (self.draining, "draining")]
            .into_iter()
            .filter_map(|(holds, reason)| holds.then_some(reason))
            .collect()
    }
}

#[derive(Clone)]
struct Shared {
    readiness: watch::Receiver<Readiness>,
    metrics: Arc<Metrics>,
}

/// The admin port's routes.
pub fn router(readiness: watch::Receiver<Readiness>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(async || json_body(StatusCode::OK, &json!({"status": "live"}))))
        .route("/readyz", get(ready))
        .route("/version", get(async || json_body(StatusCode::OK, &version())))
        .route("/metrics", get(read_metrics))
        .route("/debug/pprof/profile", get(profiles::cpu))
        .route("/debug/pprof/heap", get(profiles::heap))
        .with_state(Shared { readiness, metrics })
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let readiness = *shared.readiness.borrow();
    if readiness.is_ready() {
        return json_body(StatusCode::OK, &json!({"status": "ready"}));
    }
    let body = Unready { status: "unready", reasons: readiness.reasons() };
    json_body(StatusCode::SERVICE_UNAVAILABLE, &body)
}

#[derive(Serialize)]
struct Unready {
    status: &'static str,
    reasons: Vec<&'static str>,
}

fn json_body(
    status: StatusCode,
    body: &impl Serialize,
) -> (StatusCode, [(HeaderName, &'static str); 1], String) {
    (status, [(header::CONTENT_TYPE, "application/json")], serde_json::to_string(body).unwrap_or_default())
}

/// What runs here.
pub fn version() -> Version {
    Version {
        implementation: "rust",
        commit: option_env!("TWINPAY_COMMIT").unwrap_or("unknown"),
        profile: match option_env!("TWINPAY_PROFILE") {
            _ if cfg!(debug_assertions) => "debug",
            Some(profile) => profile,
            None => "release",
        },
    }
}

/// What `/version` answers.
#[derive(Serialize)]
pub struct Version {
    implementation: &'static str,
    /// Given to the build by TWINPAY_COMMIT.
    commit: &'static str,
    /// Given to the build by TWINPAY_PROFILE, where it isn't the usual one: a program can't see how it was linked.
    profile: &'static str,
}

async fn read_metrics(State(shared): State<Shared>) -> impl IntoResponse {
    match TextEncoder::new().encode_to_string(&shared.metrics.registry.gather()) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text),
        Err(error) => {
            let kind = [(header::CONTENT_TYPE, "text/plain")];
            (StatusCode::INTERNAL_SERVER_ERROR, kind, error.to_string())
        }
    }
}
