//! One function an operation: admit, map, call the use case, map back.

use std::sync::Arc;

use payments_proto::payments::v1::{
    self as message, admin_service_server::AdminService, event_service_server::EventService,
    ledger_service_server::LedgerService, payment_service_server::PaymentService,
    vault_service_server::VaultService, webhook_service_server::WebhookService,
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    interceptors::{Scope, Seen},
    stream::{self, EventStream},
    wire,
};
use crate::{
    domain::error::{Error, Violations},
    usecase::payments::Payments,
};

/// All services.
#[derive(Clone)]
pub struct Door {
    payments: Arc<Payments>,
}

impl Door {
    /// Over all use cases.
    pub fn new(payments: Arc<Payments>) -> Self {
        Self { payments }
    }
}

#[async_trait]
impl AdminService for Door {
    async fn create_merchant(
        &self,
        request: Request<message::CreateMerchantRequest>,
    ) -> Result<Response<message::Merchant>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let mut admitted = seen.admit(&self.payments, &request, Scope::Admin).await?;
            let key = admitted.key()?;
            let command = wire::create_merchant(request.into_inner());
            self.payments.create_merchant(&admitted.call, key, command, Violations::default()).await
        };
        seen.answer(work.await, None, wire::stored_merchant)
    }

    async fn create_api_key(
        &self,
        request: Request<message::CreateApiKeyRequest>,
    ) -> Result<Response<message::ApiKey>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Admin).await?;
            let merchant = request.into_inner().merchant_id.unwrap_or_default();
            self.payments.create_api_key(&admitted.call, &merchant, Violations::default()).await
        };
        let key = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(wire::api_key(key)))
    }

    async fn revoke_api_key(
        &self,
        request: Request<message::RevokeApiKeyRequest>,
    ) -> Result<Response<message::ApiKey>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Admin).await?;
            let id = request.into_inner().id.unwrap_or_default();
            self.payments.revoke_api_key(&admitted.call, &id, Violations::default()).await
        };
        let key = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(wire::api_key(key)))
    }
}

#[async_trait]
impl VaultService for Door {
    async fn create_payment_token(
        &self,
        request: Request<message::CreatePaymentTokenRequest>,
    ) -> Result<Response<message::PaymentToken>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let mut admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, key) = (admitted.merchant()?, admitted.required_key()?);
            let command = wire::create_payment_token(request.into_inner());
            self.payments.tokenize(&admitted.call, merchant, key, command, Violations::default()).await
        };
        seen.answer(work.await, None, wire::stored_token)
    }

    async fn get_payment_token(
        &self,
        request: Request<message::GetPaymentTokenRequest>,
    ) -> Result<Response<message::PaymentToken>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, id) = (admitted.merchant()?, request.into_inner().id.unwrap_or_default());
            self.payments.get_payment_token(&admitted.call, merchant, &id, Violations::default()).await
        };
        seen.answer(work.await, None, wire::stored_token)
    }
}

#[async_trait]
impl PaymentService for Door {
    async fn create_payment(
        &self,
        request: Request<message::CreatePaymentRequest>,
    ) -> Result<Response<message::Payment>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let mut admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, key) = (admitted.merchant()?, admitted.required_key()?);
            let command = wire::create_payment(request.into_inner());
            self.payments.create(admitted.call, merchant, key, command, Violations::default()).await
        };
        seen.answer(work.await, None, wire::stored_payment)
    }

    async fn capture_payment(
        &self,
        request: Request<message::CapturePaymentRequest>,
    ) -> Result<Response<message::Payment>, Status> {
        let seen = Seen::of(&request)?;
        let payment = request.get_ref().id.clone();
        let work = async {
            let mut admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, key) = (admitted.merchant()?, admitted.required_key()?);
            let command = wire::capture_payment(request.into_inner());
            self.payments.capture(admitted.call, merchant, key, command, Violations::default()).await
        };
        seen.answer(work.await, payment.as_deref(), wire::stored_payment)
    }

    async fn void_payment(
        &self,
        request: Request<message::VoidPaymentRequest>,
    ) -> Result<Response<message::Payment>, Status> {
        let seen = Seen::of(&request)?;
        let payment = request.get_ref().id.clone();
        let work = async {
            let mut admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, key) = (admitted.merchant()?, admitted.required_key()?);
            let id = request.into_inner().id.unwrap_or_default();
            self.payments.void(admitted.call, merchant, key, &id, Violations::default()).await
        };
        seen.answer(work.await, payment.as_deref(), wire::stored_payment)
    }

    async fn get_payment(
        &self,
        request: Request<message::GetPaymentRequest>,
    ) -> Result<Response<message::Payment>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let merchant = admitted.merchant()?;
            let id = request.into_inner().id.unwrap_or_default();
            self.payments.get_payment(&admitted.call, merchant, &id, Violations::default()).await
        };
        let payment = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(wire::payment(payment)))
    }

    async fn create_refund(
        &self,
        request: Request<message::CreateRefundRequest>,
    ) -> Result<Response<message::Refund>, Status> {
        let seen = Seen::of(&request)?;
        let payment = request.get_ref().id.clone();
        let work = async {
            let mut admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, key) = (admitted.merchant()?, admitted.required_key()?);
            let command = wire::create_refund(request.into_inner());
            self.payments.refund(admitted.call, merchant, key, command, Violations::default()).await
        };
        seen.answer(work.await, payment.as_deref(), wire::stored_refund)
    }

    async fn get_refund(
        &self,
        request: Request<message::GetRefundRequest>,
    ) -> Result<Response<message::Refund>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let merchant = admitted.merchant()?;
            let id = request.into_inner().id.unwrap_or_default();
            self.payments.get_refund(&admitted.call, merchant, &id, Violations::default()).await
        };
        let refund = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(wire::refund(refund)))
    }

    async fn list_payments(
        &self,
        request: Request<message::ListPaymentsRequest>,
    ) -> Result<Response<message::ListPaymentsResponse>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, command) = (admitted.merchant()?, wire::list_payments(request.into_inner()));
            self.payments.list_payments(&admitted.call, merchant, command, Violations::default()).await
        };
        let list = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(wire::payments(list)))
    }

    async fn list_refunds(
        &self,
        request: Request<message::ListRefundsRequest>,
    ) -> Result<Response<message::ListRefundsResponse>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, command) = (admitted.merchant()?, wire::list_refunds(request.into_inner()));
            self.payments.list_refunds(&admitted.call, merchant, command, Violations::default()).await
        };
        let list = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(wire::refunds(list)))
    }
}

#[async_trait]
impl LedgerService for Door {
    async fn get_balances(
        &self,
        request: Request<message::GetBalancesRequest>,
    ) -> Result<Response<message::GetBalancesResponse>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            self.payments.get_balances(&admitted.call, admitted.merchant()?, Violations::default()).await
        };
        let balances = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(wire::balances(balances)))
    }

    async fn list_ledger_entries(
        &self,
        request: Request<message::ListLedgerEntriesRequest>,
    ) -> Result<Response<message::ListLedgerEntriesResponse>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, command) = (admitted.merchant()?, wire::list_ledger_entries(request.into_inner()));
            self.payments.list_ledger_entries(&admitted.call, merchant, command, Violations::default()).await
        };
        let list = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(wire::entries(list)))
    }
}

#[async_trait]
impl EventService for Door {
    async fn list_events(
        &self,
        request: Request<message::ListEventsRequest>,
    ) -> Result<Response<message::ListEventsResponse>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, command) = (admitted.merchant()?, stream::list_events(request.into_inner()));
            let call = &admitted.call;
            let list = self.payments.list_events(call, merchant, command, Violations::default()).await?;
            stream::events(list).map_err(|error| Error::Internal(error.into()))
        };
        work.await.map(Response::new).map_err(|error| seen.refuse(&error))
    }

    type WatchEventsStream = EventStream;

    async fn watch_events(
        &self,
        request: Request<message::WatchEventsRequest>,
    ) -> Result<Response<EventStream>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let merchant = admitted.merchant()?;
            let command = stream::watch_events(request.get_ref());
            self.payments.watch_events(admitted.call, merchant, command, Violations::default()).await
        };
        let watch = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(stream::open(watch, seen)))
    }
}

#[async_trait]
impl WebhookService for Door {
    async fn create_webhook_endpoint(
        &self,
        request: Request<message::CreateWebhookEndpointRequest>,
    ) -> Result<Response<message::WebhookEndpoint>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, url) = (admitted.merchant()?, request.into_inner().url);
            self.payments.create_webhook_endpoint(&admitted.call, merchant, url, Violations::default()).await
        };
        let made = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(wire::webhook_endpoint(made.endpoint, Some(made.secret))))
    }

    async fn list_webhook_endpoints(
        &self,
        request: Request<message::ListWebhookEndpointsRequest>,
    ) -> Result<Response<message::ListWebhookEndpointsResponse>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let (merchant, message) = (admitted.merchant()?, request.into_inner());
            let page = wire::page(message.page_size, message.page_token);
            self.payments.list_webhook_endpoints(&admitted.call, merchant, page, Violations::default()).await
        };
        let list = work.await.map_err(|error| seen.refuse(&error))?;
        Ok(Response::new(wire::webhook_endpoints(list)))
    }

    async fn delete_webhook_endpoint(
        &self,
        request: Request<message::DeleteWebhookEndpointRequest>,
    ) -> Result<Response<()>, Status> {
        let seen = Seen::of(&request)?;
        let work = async {
            let admitted = seen.admit(&self.payments, &request, Scope::Merchant).await?;
            let merchant = admitted.merchant()?;
            let id = request.into_inner().id.unwrap_or_default();
            self.payments.delete_webhook_endpoint(&admitted.call, merchant, &id, Violations::default()).await
        };
        work.await.map(Response::new).map_err(|error| seen.refuse(&error))
    }
}
