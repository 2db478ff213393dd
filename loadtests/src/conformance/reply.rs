//! A reply of either door in one form: over gRPC a message becomes the JSON object that HTTP would show, and a status
//! with its details the problem that HTTP would show. Whatever of gRPC has no place there is judged here.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Number;
use tonic::Code;
use tonic_types::pb::{BadRequest, ErrorInfo, PreconditionFailure, RetryInfo, Status as RpcStatus};

use super::case::Door;
use super::contract::{Contract, ErrorRow, code, code_name};
use super::message;
use super::node::Node;
use super::stream;
use super::wire::Incomings;

/// Reasons whose gRPC status names the payment.
pub const NAMES_PAYMENT: [&str; 8] = [
    "CARD_DECLINED",
    "RISK_BLOCKED",
    "OPERATION_REFUSED",
    "PAYMENT_STATE_INVALID",
    "AMOUNT_EXCEEDS_CAPTURABLE",
    "AMOUNT_EXCEEDS_REFUNDABLE",
    "PAYMENT_BUSY",
    "OUTCOME_UNKNOWN",
];

/// A reply.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The door it came through.
    pub door: Door,
    /// The HTTP status; over gRPC the one that the reason or the operation has over HTTP, 0 where there is none.
    pub status: u16,
    /// Over gRPC, the code.
    pub code: Option<Code>,
    /// Headers, over gRPC with the trailers.
    pub headers: HeaderMap,
    /// The body as it came; over gRPC as rendered here.
    pub text: String,
    /// The body parsed; none where it is empty or isn't JSON.
    pub body: Option<Node>,
    /// Over gRPC, the payment that an error names.
    pub payment_id: Option<String>,
    /// What is wrong with its form.
    pub faults: Vec<String>,
}

impl Reply {
    /// The reason of an error.
    pub fn reason(&self) -> Option<&str> {
        // A refund has a member of this name, too.
        self.body.as_ref().filter(|_| self.is_error())?.get("reason")?.text()
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.code.map_or(self.status >= 400, |code| code != Code::Ok)
    }

    /// The only value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The status or code of a reply that has no reason: the library's own.
    pub fn given_by_library(&self) -> Option<String> {
        let shown = self.code.map_or_else(|| self.status.to_string(), code_name);
        self.reason().is_none().then_some(shown)
    }

    /// Whether it says that it is a replay.
    pub fn replayed(&self) -> bool {
        self.header("idempotency-replayed").is_some_and(|value| value == "true")
    }

    /// One line for messages.
    pub fn summary(&self) -> String {
        let code = self.code.map(|code| format!(" {}", code_name(code))).unwrap_or_default();
        let named = self.payment_id.as_deref().map(|id| format!(" payment_id={id}")).unwrap_or_default();
        let headers: Vec<_> = super::shape::COMPARED
            .iter()
            .filter_map(|name| Some(format!("{name}: {}", self.header(name)?)))
            .collect();
        format!("{}{code}{named} [{}] {}", self.status, headers.join(", "), self.text)
    }
}

/// An HTTP reply.
pub fn from_http(door: Door, incomings: Incomings) -> Reply {
    let text = String::from_utf8_lossy(&incomings.body).into_owned();
    let mut faults = Vec::new();
    let streams = incomings.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    let parsed = if streams { stream::from_blocks(&text) } else { Node::parse(&incomings.body) };
    let body = match parsed {
        Ok(node) => Some(node),
        Err(_) if incomings.body.is_empty() => None,
        Err(error) => {
            let kind = if streams { "a stream of events" } else { "JSON" };
            faults.push(format!("the body isn't {kind}: {error}"));
            None
        }
    };
    let status = incomings.status.as_u16();
    Reply { door, status, code: None, headers: incomings.headers, text, body, payment_id: None, faults }
}

/// A gRPC reply. `output` is the message of success, `success` its status over HTTP.
pub fn from_grpc(
    contract: &Contract,
    incomings: Incomings,
    output: Option<&MessageDescriptor>,
    success: u16,
) -> Reply {
    let mut reply = Reply {
        door: Door::Grpc,
        status: 0,
        code: None,
        headers: incomings.headers,
        text: String::new(),
        body: None,
        payment_id: None,
        faults: Vec::new(),
    };
    if incomings.status.as_u16() != 200 {
        reply.faults.push(format!("HTTP status {} under gRPC", incomings.status));
    }
    // A stream whose first message was read has no status yet.
    let status = tonic::Status::from_header_map(&reply.headers);
    let code = status.as_ref().map_or(Code::Ok, tonic::Status::code);
    reply.code = Some(code);
    match status {
        Some(status) if code != Code::Ok => read_error(contract, &status, &mut reply),
        _ => read_message(&incomings.body, output, success, &mut reply),
    }
    reply.text = reply.body.as_ref().map(Node::to_string).unwrap_or_default();
    reply
}

fn read_message(body: &Bytes, output: Option<&MessageDescriptor>, success: u16, reply: &mut Reply) {
    reply.status = success;
    let Some(output) = output else {
        reply.faults.push("success where no message is known".into());
        return;
    };
    if output.name() == stream::OUTPUT {
        match stream::from_messages(body, output) {
            Ok(items) => reply.body = Some(items),
            Err(error) => reply.faults.push(error),
        }
        return;
    }
    match DynamicMessage::decode(output.clone(), body.clone()) {
        Ok(message) => {
            if message.unknown_fields().next().is_some() {
                reply.faults.push("the message has fields that aren't in proto/".into());
            }
            // What HTTP says without a body is an empty message.
            reply.body = (success != 204).then(|| message::to_reply(&message));
        }
        Err(error) => reply.faults.push(format!("the message can't be decoded: {error}")),
    }
}

/// The details of a status, each at most once.
#[derive(Default)]
struct Details {
    info: Option<ErrorInfo>,
    bad: Option<BadRequest>,
    precondition: Option<PreconditionFailure>,
    retry: Option<RetryInfo>,
}

fn read_details(status: &tonic::Status, faults: &mut Vec<String>) -> Details {
    let mut details = Details::default();
    let rpc = match RpcStatus::decode(status.details()) {
        Ok(rpc) => rpc,
        Err(error) => {
            faults.push(format!("grpc-status-details-bin can't be decoded: {error}"));
            return details;
        }
    };
    if !status.details().is_empty() && (rpc.code != status.code() as i32 || rpc.message != status.message()) {
        faults.push(
            "grpc-status-details-bin has another code or message than grpc-status and grpc-message".into(),
        );
    }
    for any in &rpc.details {
        let repeated = match any.type_url.as_str() {
            "type.googleapis.com/google.rpc.ErrorInfo" => put(&mut details.info, &any.value),
            "type.googleapis.com/google.rpc.BadRequest" => put(&mut details.bad, &any.value),
            "type.googleapis.com/google.rpc.PreconditionFailure" => {
                put(&mut details.precondition, &any.value)
            }
            "type.googleapis.com/google.rpc.RetryInfo" => put(&mut details.retry, &any.value),
            other => Some(format!("an unexpected detail {other}")),
        };
        faults.extend(repeated);
    }
    details
}

fn put<T: Message + Default>(place: &mut Option<T>, bytes: &[u8]) -> Option<String> {
    match T::decode(bytes) {
        Ok(detail) if place.is_none() => {
            *place = Some(detail);
            None
        }
        Ok(_) => Some("a detail occurs twice".into()),
        Err(error) => Some(format!("a detail can't be decoded: {error}")),
    }
}

fn read_error(contract: &Contract, status: &tonic::Status, reply: &mut Reply) {
    let mut faults = Vec::new();
    let details = read_details(status, &mut faults);
    if let Some(info) = &details.info {
        match contract.errors.row(&info.reason) {
            Some(row) => {
                reply.status = row.status;
                if code(&row.grpc) != Some(status.code()) {
                    faults.push(format!(
                        "{} comes with {}, not {}",
                        info.reason,
                        code_name(status.code()),
                        row.grpc
                    ));
                }
                check_details(row, &details, &mut faults);
                reply.body = Some(problem(contract, row, info, &details, status.message()));
            }
            None => faults.push(format!("the reason {} isn't in proto/errors.toml", info.reason)),
        }
        if info.domain != contract.errors.domain {
            faults.push(format!("ErrorInfo.domain is {:?}", info.domain));
        }
        reply.payment_id = info.metadata.get("payment_id").cloned();
        let known = ["payment_id", "decline_reason", "current_state", "allowed_states"];
        faults.extend(
            info.metadata
                .keys()
                .filter(|key| !known.contains(&key.as_str()))
                .map(|key| format!("ErrorInfo.metadata has {key}")),
        );
        if let Some(fault) = check_precondition(info, &details) {
            faults.push(fault);
        }
    } else {
        // The library's own reply: shown in the problem's form, so that a case can name its message.
        reply.body = Some(Node::Object(vec![("detail".into(), Node::Text(status.message().to_owned()))]));
    }
    reply.faults.extend(faults);
}

fn check_details(row: &ErrorRow, details: &Details, faults: &mut Vec<String>) {
    let seconds =
        details.retry.as_ref().and_then(|retry| retry.retry_delay).map(|delay| (delay.seconds, delay.nanos));
    let wanted = row.retry_after.map(|seconds| (i64::from(seconds), 0));
    if seconds != wanted {
        faults.push(format!("RetryInfo is {seconds:?}, not {wanted:?}"));
    }
    if details.bad.is_some() != (row.reason == "VALIDATION_FAILED") {
        faults.push("BadRequest belongs to VALIDATION_FAILED and to nothing else".into());
    }
    if details.precondition.is_some() != (row.reason == "PAYMENT_STATE_INVALID") {
        faults.push("PreconditionFailure belongs to PAYMENT_STATE_INVALID and to nothing else".into());
    }
    let violations = details.bad.iter().flat_map(|bad| &bad.field_violations);
    faults.extend(
        violations
            .filter(|violation| message::parameter(&violation.field).is_none())
            .map(|violation| format!("a violation of {}, as only HTTP calls it", violation.field)),
    );
    let named = details.info.as_ref().is_some_and(|info| info.metadata.contains_key("payment_id"));
    // A busy or unknown outcome names its payment where one is known.
    if named != NAMES_PAYMENT.contains(&row.reason.as_str()) {
        faults.push(format!("ErrorInfo.metadata {} payment_id", if named { "has" } else { "lacks" }));
    }
}

fn check_precondition(info: &ErrorInfo, details: &Details) -> Option<String> {
    let failure = details.precondition.as_ref()?;
    let wanted = (
        "PAYMENT_STATE",
        info.metadata.get("payment_id").map(String::as_str),
        info.metadata.get("current_state").map(String::as_str),
    );
    let right = failure.violations.len() == 1
        && failure.violations.iter().all(|violation| {
            (
                violation.r#type.as_str(),
                Some(violation.subject.as_str()),
                Some(violation.description.as_str()),
            ) == wanted
        });
    (!right).then(|| format!("PreconditionFailure is {:?}, not one of {wanted:?}", failure.violations))
}

/// The problem that HTTP shows for the same error, without `payment`.
fn problem(contract: &Contract, row: &ErrorRow, info: &ErrorInfo, details: &Details, told: &str) -> Node {
    let text = |text: &str| Node::Text(text.to_owned());
    let mut members = vec![
        ("type".to_owned(), text(&contract.errors.type_uri(&row.reason))),
        ("title".to_owned(), text(&row.title)),
        ("status".to_owned(), Node::Number(Number::from(row.status))),
        ("detail".to_owned(), text(told)),
        ("reason".to_owned(), text(&row.reason)),
    ];
    if let Some(bad) = &details.bad {
        let violations = bad.field_violations.iter().map(|violation| {
            Node::Object(vec![
                ("field".into(), text(message::parameter(&violation.field).unwrap_or(&violation.field))),
                ("reason".into(), text(&violation.reason)),
                ("description".into(), text(&violation.description)),
            ])
        });
        members.push(("violations".into(), Node::List(violations.collect())));
    }
    for name in ["decline_reason", "current_state"] {
        if let Some(value) = info.metadata.get(name) {
            members.push((name.into(), text(value)));
        }
    }
    if let Some(states) = info.metadata.get("allowed_states") {
        members.push(("allowed_states".into(), Node::List(states.split(',').map(text).collect())));
    }
    Node::Object(members)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn reply(reason: &str, metadata: &[(&str, &str)], code: Code) -> Reply {
        let contract = Contract::load().unwrap();
        let detail = contract.errors.row(reason).unwrap().detail.clone();
        let metadata: HashMap<_, _> =
            metadata.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let info = ErrorInfo { reason: reason.into(), domain: contract.errors.domain.clone(), metadata };
        let any = prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
            value: info.encode_to_vec(),
        };
        let rpc = RpcStatus { code: code as i32, message: detail.clone(), details: vec![any] };
        let status = tonic::Status::with_details(code, detail, rpc.encode_to_vec().into());
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let incomings = Incomings { status: http::StatusCode::OK, headers, body: Bytes::new() };
        from_grpc(&contract, incomings, None, 201)
    }

    #[test]
    fn a_status_becomes_the_problem_that_http_shows() {
        let metadata = [("payment_id", "pay_x"), ("decline_reason", "do_not_honor")];
        let reply = reply("CARD_DECLINED", &metadata, Code::FailedPrecondition);
        assert_eq!(
            (reply.status, reply.reason(), reply.faults.len()),
            (402, Some("CARD_DECLINED"), 0),
            "{:?}",
            reply.faults
        );
        let names = reply.body.as_ref().unwrap().names();
        assert_eq!(names, ["type", "title", "status", "detail", "reason", "decline_reason"]);
    }

    #[test]
    fn wrong_codes_and_missing_details_are_faults() {
        let faults = reply("PAYMENT_BUSY", &[], Code::Internal).faults.join("; ");
        for wanted in ["comes with INTERNAL, not ABORTED", "RetryInfo is None", "lacks payment_id"] {
            assert!(faults.contains(wanted), "{faults}");
        }
    }
}
