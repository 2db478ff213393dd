//! A card network in the test's hand.

use std::net::SocketAddr;

use payments_proto::acquirer::v1::{
    AuthorizeRequest, AuthorizeResponse, CaptureRequest, CaptureResponse, GetOperationRequest,
    GetOperationResponse, Outcome, ProvisionTokenRequest, ProvisionTokenResponse, RefundRequest,
    RefundResponse, Result as Decision, SaleRequest, SaleResponse, VoidRequest, VoidResponse,
    acquirer_service_server::{AcquirerService, AcquirerServiceServer},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tonic::{Request, Response, Status, service::Routes};

/// A sale that waits for the test. Dropped, it is lost.
pub struct Ask {
    pub traceparent: String,
    approval: oneshot::Sender<()>,
}

impl Ask {
    pub fn approve(self) {
        self.approval.send(()).unwrap();
    }

    /// Whether the service has given it up.
    pub fn is_over(&self) -> bool {
        self.approval.is_closed()
    }
}

/// A network that decides nothing by itself, and the sales that it is asked for.
pub async fn held() -> (SocketAddr, mpsc::UnboundedReceiver<Ask>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (asks, asked) = mpsc::unbounded_channel();
    tokio::spawn(serve(listener, Routes::new(AcquirerServiceServer::new(Held(asks)))));
    (addr, asked)
}

/// Serves gRPC for ever.
pub async fn serve(listener: TcpListener, routes: Routes) {
    let router = routes.into_axum_router();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let stream = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            let _ =
                hyper::server::conn::http2::Builder::new(executor).serve_connection(stream, service).await;
        });
    }
}

struct Held(mpsc::UnboundedSender<Ask>);

#[tonic::async_trait]
impl AcquirerService for Held {
    async fn provision_token(
        &self,
        _: Request<ProvisionTokenRequest>,
    ) -> Result<Response<ProvisionTokenResponse>, Status> {
        Ok(Response::new(ProvisionTokenResponse { network_token: "ntk_1".into() }))
    }

    async fn sale(&self, request: Request<SaleRequest>) -> Result<Response<SaleResponse>, Status> {
        let traceparent = request.metadata().get("traceparent").unwrap().to_str().unwrap().to_owned();
        let (approval, approved) = oneshot::channel();
        let _ = self.0.send(Ask { traceparent, approval });
        approved.await.map_err(|_| Status::unavailable("lost"))?;
        let result = Decision { outcome: Outcome::Approved.into(), ..Decision::default() };
        Ok(Response::new(SaleResponse { result: Some(result) }))
    }

    async fn authorize(&self, _: Request<AuthorizeRequest>) -> Result<Response<AuthorizeResponse>, Status> {
        Err(Status::unimplemented("sales alone"))
    }

    async fn capture(&self, _: Request<CaptureRequest>) -> Result<Response<CaptureResponse>, Status> {
        Err(Status::unimplemented("sales alone"))
    }

    async fn void(&self, _: Request<VoidRequest>) -> Result<Response<VoidResponse>, Status> {
        Err(Status::unimplemented("sales alone"))
    }

    async fn refund(&self, _: Request<RefundRequest>) -> Result<Response<RefundResponse>, Status> {
        Err(Status::unimplemented("sales alone"))
    }

    async fn get_operation(
        &self,
        _: Request<GetOperationRequest>,
    ) -> Result<Response<GetOperationResponse>, Status> {
        Err(Status::unimplemented("sales alone"))
    }
}
