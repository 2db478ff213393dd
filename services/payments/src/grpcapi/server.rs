//! Every gRPC service on one screen, with health and reflection. Served on the same accept loop as the HTTP door.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request as HttpRequest, State},
    middleware::{Next, from_fn_with_state},
    response::Response as HttpResponse,
};
use futures::{Stream, StreamExt as _, stream};
use http_body_util::{BodyStream, StreamBody};
use payments_proto::{
    FILE_DESCRIPTOR_SET,
    payments::v1::{
        admin_service_server::{self, AdminServiceServer},
        event_service_server::{self, EventServiceServer},
        ledger_service_server::{self, LedgerServiceServer},
        payment_service_server::{self, PaymentServiceServer},
        vault_service_server::{self, VaultServiceServer},
        webhook_service_server::{self, WebhookServiceServer},
    },
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, async_trait, service::Routes};
use tonic_health::pb::{
    self, HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tonic_reflection::pb::v1::server_reflection_server;

use super::{
    handlers::Door,
    interceptors::{in_time, observe},
};
use crate::{admin::Readiness, domain::error::Cause, telemetry::Metrics, usecase::payments::Payments};

/// A message has at most so many bytes, as a body over HTTP.
const MAX_MESSAGE: usize = 65_536;

/// What can be asked for its health; the empty name is the whole.
const SERVICES: &[&str] = &[
    "",
    admin_service_server::SERVICE_NAME,
    vault_service_server::SERVICE_NAME,
    payment_service_server::SERVICE_NAME,
    ledger_service_server::SERVICE_NAME,
    event_service_server::SERVICE_NAME,
    webhook_service_server::SERVICE_NAME,
];

/// The services, inside of what every call passes.
pub fn router(
    payments: Arc<Payments>,
    readiness: watch::Receiver<Readiness>,
    metrics: Arc<Metrics>,
) -> Result<Router, Cause> {
    let ends = (readiness.clone(), payments.settings.body_limit);
    let door = Door::new(payments);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .with_service_name(admin_service_server::SERVICE_NAME)
        .with_service_name(vault_service_server::SERVICE_NAME)
        .with_service_name(payment_service_server::SERVICE_NAME)
        .with_service_name(ledger_service_server::SERVICE_NAME)
        .with_service_name(event_service_server::SERVICE_NAME)
        .with_service_name(webhook_service_server::SERVICE_NAME)
        .with_service_name(pb::health_server::SERVICE_NAME)
        .with_service_name(server_reflection_server::SERVICE_NAME)
        .build_v1()?;
    let routes = Routes::new(AdminServiceServer::new(door.clone()).max_decoding_message_size(MAX_MESSAGE))
        .add_service(VaultServiceServer::new(door.clone()).max_decoding_message_size(MAX_MESSAGE))
        .add_service(PaymentServiceServer::new(door.clone()).max_decoding_message_size(MAX_MESSAGE))
        .add_service(LedgerServiceServer::new(door.clone()).max_decoding_message_size(MAX_MESSAGE))
        .add_service(EventServiceServer::new(door.clone()).max_decoding_message_size(MAX_MESSAGE))
        .add_service(WebhookServiceServer::new(door).max_decoding_message_size(MAX_MESSAGE))
        .add_service(HealthServer::new(HealthOf { readiness }))
        .add_service(reflection);
    let routes = routes.into_axum_router().layer(from_fn_with_state(ends, end_request));
    Ok(routes.layer(from_fn_with_state(metrics, observe)))
}

/// No client may withhold its message. It may keep a reflection stream open for ever: its questions end when the drain begins, and so do
/// the answers.
async fn end_request(
    State((mut readiness, limit)): State<(watch::Receiver<Readiness>, Duration)>,
    request: HttpRequest,
    next: Next,
) -> HttpResponse {
    if !request.uri().path().starts_with("/grpc.reflection.v1.") {
        return next.run(in_time(request, limit)).await;
    }
    let draining = async move {
        // It also ends where nobody is left to tell.
        let _ = readiness.wait_for(|readiness| readiness.draining).await;
    };
    let until = |body| Body::new(StreamBody::new(BodyStream::new(body).take_until(draining)));
    next.run(request.map(until)).await
}

/// The health protocol over our readiness. tonic-health's own Watch fails for an unknown service, where the protocol streams
/// SERVICE_UNKNOWN.
struct HealthOf {
    readiness: watch::Receiver<Readiness>,
}

#[async_trait]
impl Health for HealthOf {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request.get_ref().service) {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(response(serving(*self.readiness.borrow()))))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = is_known(&request.get_ref().service);
        let changes =
            stream::unfold((self.readiness.clone(), None), move |(mut readiness, told)| async move {
                let now = loop {
                    let seen = *readiness.borrow_and_update();
                    let now = if known { serving(seen) } else { ServingStatus::ServiceUnknown };
                    if told != Some(now) {
                        break now;
                    }
                    // What is draining changes no more: the stream ends, or the drain would wait for it.
                    if seen.draining || readiness.changed().await.is_err() {
                        return None;
                    }
                };
                Some((Ok(response(now)), (readiness, Some(now))))
            });
        let end = stream::once(async { Err(Status::unavailable("draining")) });
        Ok(Response::new(Box::pin(changes.chain(end))))
    }
}

fn is_known(service: &str) -> bool {
    SERVICES.contains(&service)
}

fn serving(readiness: Readiness) -> ServingStatus {
    if readiness.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
