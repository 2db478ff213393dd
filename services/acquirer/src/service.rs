//! The calls: check, draw, ask what was or is decided, let the latency pass, answer.

use payments_proto::acquirer::v1::acquirer_service_server::AcquirerService;
use payments_proto::acquirer::v1::{
    AuthorizeRequest, AuthorizeResponse, CaptureRequest, CaptureResponse, GetOperationRequest,
    GetOperationResponse, ProvisionTokenRequest, ProvisionTokenResponse, RefundRequest, RefundResponse,
    Result as Decision, SaleRequest, SaleResponse, VoidRequest, VoidResponse,
};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::config::Config;
use crate::deadline::Deadline;
use crate::journal::{Journal, Record};
use crate::latency::{Draw, draw};
use crate::operations::{Answer, Operations, Outcome};
use crate::requests::{self, Money};
use crate::script::{Delivery, Rpc, Script};

/// Marks a response whose stream is to be reset in its place.
#[derive(Debug, Clone, Copy)]
pub struct ReplyLost;

/// The network.
#[derive(Debug)]
pub struct Network {
    config: Config,
    operations: Operations,
    journal: Option<Journal>,
}

impl Network {
    /// One that remembers what its log holds. The error is one line that names the log.
    pub fn open(config: Config) -> Result<Network, String> {
        let operations = Operations::default();
        let restore = |record: Record<'_>| operations.restore(record.id, request(&record), outcome(&record));
        let journal = config.log.as_deref().map(|path| Journal::open(path, restore)).transpose()?;
        Ok(Network { config, operations, journal })
    }

    fn draw(&self, metadata: &MetadataMap, operation_id: &str, rpc: &str) -> Draw {
        let key = metadata
            .get("traceparent")
            .and_then(|value| trace_id(value.to_str().ok()?))
            .unwrap_or(operation_id);
        draw(self.config.latency, self.config.error_rate, self.config.seed, key, rpc)
    }

    /// All that looks at the card.
    fn provision(
        &self,
        metadata: &MetadataMap,
        message: &ProvisionTokenRequest,
    ) -> Result<(Script, Draw, Answer), Status> {
        let id = requests::operation_id(&message.operation_id)?;
        let script = requests::card(message)?;
        let draw = self.draw(metadata, id, "ProvisionToken");
        let card = (&message.card_number, message.exp_month, message.exp_year, &message.cvc);
        let answer =
            self.operations.ask(id, ("ProvisionToken", card), draw.fails, || Some(Outcome::Provisioned));
        Ok((script, draw, answer))
    }

    /// The road of all calls about money.
    async fn decide<T>(
        &self,
        rpc: Rpc,
        metadata: &MetadataMap,
        money: Money<'_>,
        reply: impl FnOnce(Decision) -> T,
    ) -> Result<Response<T>, Status> {
        let deadline = Deadline::of(metadata);
        let draw = self.draw(metadata, money.operation_id, rpc.name());
        let Money { operation_id: id, network_token, script, amount, currency } = money;
        let decision = script.decide(rpc);
        let record = Record { id, rpc, network_token, amount, currency, decision };
        let logged = || self.journal.as_ref().is_none_or(|journal| journal.append(&record));
        let decide = || logged().then(|| outcome(&record));
        let answer = self.operations.ask(id, request(&record), draw.fails, decide);

        let delivery = match answer {
            Answer::First(_) => money.script.delivery(rpc),
            Answer::Again(_) => Delivery::Arrives,
            Answer::Conflict => return Err(conflict()),
            Answer::Fails => return Err(fail(deadline, draw).await),
        };
        if delivery == Delivery::Hangs {
            return Err(deadline.exceed().await);
        }
        deadline.pass(draw.latency).await?;
        // The same request has the same script, so the decision of an earlier ask is this one.
        let mut response = Response::new(reply(decision));
        if delivery == Delivery::Lost {
            response.extensions_mut().insert(ReplyLost);
        }
        Ok(response)
    }
}

#[tonic::async_trait]
impl AcquirerService for Network {
    async fn provision_token(
        &self,
        request: Request<ProvisionTokenRequest>,
    ) -> Result<Response<ProvisionTokenResponse>, Status> {
        let (metadata, _, mut message) = request.into_parts();
        let deadline = Deadline::of(&metadata);
        let answer = self.provision(&metadata, &message);
        requests::wipe(&mut message);
        let (script, draw, answer) = answer?;
        match answer {
            Answer::Conflict => return Err(conflict()),
            Answer::Fails => return Err(fail(deadline, draw).await),
            Answer::First(_) | Answer::Again(_) => {}
        }
        deadline.pass(draw.latency).await?;
        let network_token = script.token(self.config.seed, &message.operation_id);
        Ok(Response::new(ProvisionTokenResponse { network_token }))
    }

    async fn authorize(
        &self,
        request: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeResponse>, Status> {
        let (metadata, _, m) = request.into_parts();
        let money = Money::check(&m.operation_id, &m.network_token, m.amount, &m.currency)?;
        self.decide(Rpc::Authorize, &metadata, money, |result| AuthorizeResponse { result: Some(result) })
            .await
    }

    async fn sale(&self, request: Request<SaleRequest>) -> Result<Response<SaleResponse>, Status> {
        let (metadata, _, m) = request.into_parts();
        let money = Money::check(&m.operation_id, &m.network_token, m.amount, &m.currency)?;
        self.decide(Rpc::Sale, &metadata, money, |result| SaleResponse { result: Some(result) }).await
    }

    async fn capture(&self, request: Request<CaptureRequest>) -> Result<Response<CaptureResponse>, Status> {
        let (metadata, _, m) = request.into_parts();
        let money = Money::check(&m.operation_id, &m.network_token, m.amount, &m.currency)?;
        self.decide(Rpc::Capture, &metadata, money, |result| CaptureResponse { result: Some(result) }).await
    }

    async fn void(&self, request: Request<VoidRequest>) -> Result<Response<VoidResponse>, Status> {
        let (metadata, _, m) = request.into_parts();
        let money = Money::check(&m.operation_id, &m.network_token, m.amount, &m.currency)?;
        self.decide(Rpc::Void, &metadata, money, |result| VoidResponse { result: Some(result) }).await
    }

    async fn refund(&self, request: Request<RefundRequest>) -> Result<Response<RefundResponse>, Status> {
        let (metadata, _, m) = request.into_parts();
        let money = Money::check(&m.operation_id, &m.network_token, m.amount, &m.currency)?;
        self.decide(Rpc::Refund, &metadata, money, |result| RefundResponse { result: Some(result) }).await
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<GetOperationResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let id = requests::operation_id(&message.operation_id)?;
        let found = self.operations.find(id);
        Deadline::of(&metadata).pass(self.draw(&metadata, id, "GetOperation").latency).await?;
        match found {
            Some(Outcome::Decided { rpc, amount, currency, decision }) => {
                Ok(Response::new(GetOperationResponse {
                    rpc: rpc.name().into(),
                    amount,
                    currency: currency.map(char::from).iter().collect(),
                    result: Some(decision),
                }))
            }
            Some(Outcome::Provisioned) | None => {
                Err(Status::not_found("no operation about money has this id"))
            }
        }
    }
}

/// What makes two requests the same.
fn request<'a>(record: &Record<'a>) -> (&'static str, &'a str, i64, [u8; 3]) {
    (record.rpc.name(), record.network_token, record.amount, record.currency)
}

fn outcome(record: &Record<'_>) -> Outcome {
    let Record { rpc, amount, currency, decision, .. } = *record;
    Outcome::Decided { rpc, amount, currency, decision }
}

fn conflict() -> Status {
    Status::already_exists("operation_id was used with another request")
}

async fn fail(deadline: Deadline, draw: Draw) -> Status {
    match deadline.pass(draw.latency).await {
        Ok(()) => Status::unavailable("nothing was decided"),
        Err(exceeded) => exceeded,
    }
}

/// The trace id of a `traceparent`.
fn trace_id(traceparent: &str) -> Option<&str> {
    let id = traceparent.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_id_is_the_second_part() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_id(traceparent), Some("0af7651916cd43dd8448eb211c80319c"));
        for bad in ["", "00", "00-xyz-1-01", "00-0af7651916cd43dd8448eb211c80319-b7-01"] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }
}
