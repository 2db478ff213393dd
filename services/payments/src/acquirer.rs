//! The client of the card network. What it answers is one of three: approved, not approved, or unknown; nothing else is ever
//! concluded from it.

use std::time::Duration;

use payments_proto::acquirer::v1::{self as wire, acquirer_service_client::AcquirerServiceClient};
use tokio::time::{Instant, timeout_at};
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use crate::{
    domain::{
        card::{CardNumber, Expiry},
        error::{Cause, Error},
        money::Amount,
        payment::{Command, DeclineReason, Verdict},
    },
    store::operations::Pending,
    telemetry::{Call, Trace, spans},
};

/// A broken connection is made anew by the next request; it waits at most this long for it.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How often a connection with calls in flight is probed, and how long an answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(5));

/// What the network made of an operation.
#[derive(Debug)]
pub enum Answer {
    /// It decided.
    Decided(Verdict),
    /// Nobody knows; the same question later gets the same answer.
    Unknown(Cause),
}

/// One HTTP/2 connection for all requests.
#[derive(Clone)]
pub struct Acquirer {
    client: AcquirerServiceClient<Channel>,
}

impl Acquirer {
    /// Connects when it is first used.
    pub fn new(url: &str) -> Result<Self, Cause> {
        let endpoint = Endpoint::from_shared(url.to_owned())?
            .connect_timeout(CONNECT_LIMIT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(false);
        Ok(Self { client: AcquirerServiceClient::new(endpoint.connect_lazy()) })
    }

    /// Replaces a card by a network token. The same `operation` gets the same token.
    pub async fn provision(
        &self,
        call: &Call,
        operation: String,
        number: &CardNumber,
        expiry: Expiry,
        cvc: &str,
    ) -> Result<String, Error> {
        let request = wire::ProvisionTokenRequest {
            operation_id: operation,
            card_number: number.expose().to_owned(),
            exp_month: expiry.month.into(),
            exp_year: expiry.year.into(),
            cvc: cvc.to_owned(),
        };
        let mut client = self.client.clone();
        let answer = ask(call, "acquirer.v1.AcquirerService/ProvisionToken", request, async move |request| {
            client.provision_token(request).await
        });
        match answer.await {
            Ok(answer) if answer.network_token.is_empty() => {
                Err(Error::AcquirerUnavailable("an empty network token".into()))
            }
            Ok(answer) => Ok(answer.network_token),
            Err(_) if call.is_over() => Err(Error::DeadlineExceeded),
            Err(status) => Err(Error::AcquirerUnavailable(status.into())),
        }
    }

    /// Asks for `amount` under the operation's id; idempotent by it.
    pub async fn operate(&self, call: &Call, pending: &Pending, amount: Amount) -> Answer {
        let mut client = self.client.clone();
        let operation_id = pending.operation.to_string();
        let network_token = pending.network_token.clone();
        let (amount, currency) = (amount.minor(), pending.payment.currency.code().to_owned());
        let result = match &pending.command {
            Command::Authorize => {
                let request = wire::AuthorizeRequest { operation_id, network_token, amount, currency };
                let method = "acquirer.v1.AcquirerService/Authorize";
                ask(call, method, request, async move |r| client.authorize(r).await).await.map(|a| a.result)
            }
            Command::Sale => {
                let request = wire::SaleRequest { operation_id, network_token, amount, currency };
                let method = "acquirer.v1.AcquirerService/Sale";
                ask(call, method, request, async move |r| client.sale(r).await).await.map(|a| a.result)
            }
            Command::Capture { .. } => {
                let request = wire::CaptureRequest { operation_id, network_token, amount, currency };
                let method = "acquirer.v1.AcquirerService/Capture";
                ask(call, method, request, async move |r| client.capture(r).await).await.map(|a| a.result)
            }
            Command::Void => {
                let request = wire::VoidRequest { operation_id, network_token, amount, currency };
                let method = "acquirer.v1.AcquirerService/Void";
                ask(call, method, request, async move |r| client.void(r).await).await.map(|a| a.result)
            }
            Command::Refund { .. } => {
                let request = wire::RefundRequest { operation_id, network_token, amount, currency };
                let method = "acquirer.v1.AcquirerService/Refund";
                ask(call, method, request, async move |r| client.refund(r).await).await.map(|a| a.result)
            }
        };
        match result {
            Ok(result) => verdict(&pending.command, result.unwrap_or_default()),
            Err(status) => Answer::Unknown(status.into()),
        }
    }
}

/// What doesn't fit the command is unknown: better to ask again than to guess about money.
fn verdict(command: &Command, result: wire::Result) -> Answer {
    let reason = match result.decline_reason() {
        wire::DeclineReason::Unspecified => None,
        wire::DeclineReason::InsufficientFunds => Some(DeclineReason::InsufficientFunds),
        wire::DeclineReason::DoNotHonor => Some(DeclineReason::DoNotHonor),
        wire::DeclineReason::ExpiredCard => Some(DeclineReason::ExpiredCard),
        wire::DeclineReason::IncorrectCvc => Some(DeclineReason::IncorrectCvc),
        wire::DeclineReason::LostOrStolen => Some(DeclineReason::LostOrStolen),
        wire::DeclineReason::ProcessingError => Some(DeclineReason::ProcessingError),
    };
    match (result.outcome(), reason, command) {
        (wire::Outcome::Approved, _, _) => Answer::Decided(Verdict::Approved),
        (wire::Outcome::Declined, Some(reason), Command::Authorize | Command::Sale) => {
            Answer::Decided(Verdict::Declined(reason))
        }
        (wire::Outcome::Refused, _, Command::Capture { .. } | Command::Void | Command::Refund { .. }) => {
            Answer::Decided(Verdict::Refused)
        }
        (outcome, _, _) => Answer::Unknown(format!("{outcome:?} to {}", command.kind()).into()),
    }
}

/// One call: its span, its deadline on both sides, the trace handed on.
async fn ask<Q, A>(
    call: &Call,
    method: &'static str,
    message: Q,
    send: impl AsyncFnOnce(Request<Q>) -> Result<Response<A>, Status>,
) -> Result<A, Status> {
    let (span, trace) = spans::acquirer(call, method);
    let request = request(message, call.deadline, trace);
    let result = match timeout_at(call.deadline, send(request)).await {
        // tonic's own timer has the same deadline, and calls that CANCELLED.
        Ok(Err(status)) if status.code() == Code::Cancelled && call.is_over() => {
            Err(Status::deadline_exceeded(status.message()))
        }
        Ok(result) => result.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer before the deadline")),
    };
    let code = result.as_ref().err().map_or(Code::Ok, Status::code);
    span.record("rpc.response.status_code", code_name(code));
    if code != Code::Ok {
        spans::fail(&span, code_name(code));
    }
    result
}

fn request<Q>(message: Q, deadline: Instant, trace: Trace) -> Request<Q> {
    let mut request = Request::new(message);
    request.set_timeout(deadline.saturating_duration_since(Instant::now()));
    if let Ok(traceparent) = MetadataValue::try_from(trace.header()) {
        request.metadata_mut().insert("traceparent", traceparent);
    }
    request
}

/// A gRPC code as traces show it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{
        DeclineReason::{DoNotHonor, Unspecified},
        Outcome::{Approved, Declined, Refused},
    };

    #[test]
    fn an_answer_that_doesnt_fit_the_question_decides_nothing() {
        let capture = &Command::Capture { amount: None, last: true };
        let refund = &Command::Refund { amount: None, reason: None };
        let answer = |command, outcome: wire::Outcome, reason: wire::DeclineReason| {
            verdict(command, wire::Result { outcome: outcome.into(), decline_reason: reason.into() })
        };
        let declined = Verdict::Declined(DeclineReason::DoNotHonor);
        for (command, outcome, reason, want) in [
            (&Command::Sale, Approved, Unspecified, Verdict::Approved),
            (&Command::Authorize, Declined, DoNotHonor, declined),
            (capture, Approved, Unspecified, Verdict::Approved),
            (capture, Refused, Unspecified, Verdict::Refused),
            (&Command::Void, Refused, Unspecified, Verdict::Refused),
            (refund, Refused, Unspecified, Verdict::Refused),
        ] {
            let got = answer(command, outcome, reason);
            assert!(matches!(got, Answer::Decided(verdict) if verdict == want), "{command:?} {got:?}");
        }
        for (command, outcome, reason) in [
            (&Command::Sale, wire::Outcome::Unspecified, Unspecified),
            (&Command::Sale, Declined, Unspecified),
            (&Command::Authorize, Refused, Unspecified),
            (capture, Declined, DoNotHonor),
            (&Command::Void, Declined, DoNotHonor),
            (refund, Declined, DoNotHonor),
        ] {
            let got = answer(command, outcome, reason);
            assert!(matches!(got, Answer::Unknown(_)), "{command:?} {outcome:?} {reason:?} {got:?}");
        }
    }
}
