//! Errors as problem+json (RFC 9457): the contract's table, and what was stored read back.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{PaymentObject, Unreadable, json, read};
use crate::domain::{
    error::{Error, Reason, Violation},
    payment::{DeclineReason, Payment},
};

/// What a client is told of a reason, always the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Text {
    /// HTTP.
    pub status: u16,
    /// Seconds after which to try again.
    pub retry_after: Option<u32>,
    /// Short.
    pub title: &'static str,
    /// A sentence; also the message of a gRPC status.
    pub detail: &'static str,
}

/// The contract's table, `proto/errors.toml`.
#[rustfmt::skip]
pub fn text(reason: Reason) -> Text {
    let (status, retry_after, title, detail) = match reason {
        Reason::MalformedBody => (400, None, "The body can't be read", "The body must be one JSON object in UTF-8 with only the documented members, each at most once; amounts are integers."),
        Reason::ValidationFailed => (400, None, "The request breaks a rule", "Each violation names a member and the rule that it breaks."),
        Reason::CurrencyUnsupported => (400, None, "The currency isn't supported", "Supported currencies are USD, EUR, GBP and JPY."),
        Reason::CardInvalid => (400, None, "The card isn't valid", "The card number's check digit is wrong, or the card has expired."),
        Reason::IdempotencyKeyMissing => (400, None, "An idempotency key is required", "Send the header Idempotency-Key (gRPC metadata idempotency-key) with a value that is unique to this request."),
        Reason::IdempotencyKeyInvalid => (400, None, "The idempotency key isn't valid", "An idempotency key is sent once and has 1 to 255 visible ASCII characters."),
        Reason::Unauthenticated => (401, None, "The credential is missing or wrong", "Send Authorization: Bearer with a valid API key."),
        Reason::CardDeclined => (402, None, "The card was declined", "The card's issuer declined the payment; decline_reason says why."),
        Reason::RiskBlocked => (402, None, "The payment was blocked", "A risk rule of the merchant blocked the payment: the amount or the number of attempts with this card is over the limit."),
        Reason::OperationRefused => (402, None, "The card network refused the operation", "The card network refused the operation; the payment is unchanged."),
        Reason::PermissionDenied => (403, None, "The credential is of the wrong kind", "Admin operations take the admin token, all others a merchant's API key."),
        Reason::ResourceNotFound => (404, None, "There is no such object", "No object of this merchant has the given id."),
        Reason::RouteNotFound => (404, None, "There is no such route", "The path isn't one of this API."),
        Reason::MethodNotAllowed => (405, None, "The method isn't allowed here", "The header Allow lists the methods of this path."),
        Reason::PaymentStateInvalid => (409, None, "The payment's state doesn't allow this", "The operation needs a payment in one of allowed_states; it is in current_state."),
        Reason::AmountExceedsCapturable => (409, None, "The amount exceeds what can be captured", "At most the authorized amount less what is already captured can be captured."),
        Reason::PaymentBusy => (409, Some(1), "Another operation of the payment is pending", "Wait until the pending operation has ended, then retry with the same key."),
        Reason::IdempotencyInProgress => (409, Some(1), "The first request with this key is still running", "Retry with the same key to get the first request's reply."),
        Reason::DuplicateReference => (409, None, "The merchant reference is taken", "Another payment of this merchant has the same merchant_reference."),
        Reason::PayloadTooLarge => (413, None, "The body is too large", "A body has at most 65536 bytes."),
        Reason::UnsupportedMediaType => (415, None, "The content type isn't supported", "Send Content-Type: application/json."),
        Reason::IdempotencyKeyReused => (422, None, "The idempotency key belongs to another request", "This key was used for a request with other content; use a new key for a new request."),
        Reason::Internal => (500, None, "Something went wrong here", "The outcome is unknown; retry with the same idempotency key, and quote the request id when asking for help."),
        Reason::Overloaded => (503, Some(1), "The service is overloaded", "Nothing was done; retry after the time given."),
        Reason::AcquirerUnavailable => (503, Some(1), "The card network can't be reached", "Nothing was done; retry with the same key after the time given."),
        Reason::DeadlineExceeded => (504, None, "The deadline passed", "Nothing was done before the request's deadline; retry with more time."),
        Reason::OutcomeUnknown => (504, None, "The outcome isn't known yet", "The operation may have been done and is being settled; retry with the same key to learn its outcome."),
        Reason::AmountExceedsRefundable => (409, None, "The amount exceeds what can be refunded", "At most the captured amount less what is already refunded can be refunded."),
        Reason::CursorInvalid => (400, None, "The cursor isn't valid", "Send a cursor as it was given, with the same filter; or none, to begin with the newest."),
        Reason::RequestTimeout => (408, None, "The body came too slowly", "A body must arrive within ten seconds of the request's head."),
        Reason::RateLimited => (429, Some(1), "Too many requests with this key", "Nothing was done; retry after the time given, and more slowly."),
    };
    Text { status, retry_after, title, detail }
}

/// Where a problem's `type` begins.
const TYPE_PREFIX: &str = "https://twinpay.dev/errors/";

#[derive(Serialize)]
struct ViolationObject<'a> {
    field: &'a str,
    reason: &'static str,
    description: Cow<'static, str>,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<ViolationObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_state: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    allowed_states: &'a [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<PaymentObject<'a>>,
}

/// An error as problem+json (RFC 9457).
pub fn problem(error: &Error) -> String {
    let reason = error.reason();
    let Text { status, title, detail, .. } = text(reason);
    let details = Details::of(error);
    json(&Problem {
        r#type: format!("{TYPE_PREFIX}{}", reason.as_str().to_ascii_lowercase()),
        title,
        status,
        detail,
        reason: reason.as_str(),
        violations: details.violations.iter().map(ViolationObject::from).collect(),
        decline_reason: details.decline_reason,
        current_state: details.current_state,
        allowed_states: &details.allowed_states,
        payment: details.payment.map(PaymentObject::from),
    })
}

impl<'a> From<&'a Violation> for ViolationObject<'a> {
    fn from(violation: &'a Violation) -> Self {
        let (reason, description) = (violation.rule.reason(), violation.rule.description());
        Self { field: &violation.field, reason, description }
    }
}

/// What an error says beyond its reason; both doors show it.
#[derive(Default)]
pub struct Details<'a> {
    /// In declared order.
    pub violations: &'a [Violation],
    /// On CARD_DECLINED.
    pub decline_reason: Option<&'static str>,
    /// On PAYMENT_STATE_INVALID.
    pub current_state: Option<&'static str>,
    /// On PAYMENT_STATE_INVALID.
    pub allowed_states: Vec<&'static str>,
    /// On 402.
    pub payment: Option<&'a Payment>,
}

impl<'a> Details<'a> {
    /// Of `error`.
    pub fn of(error: &'a Error) -> Self {
        let mut details = Self::default();
        if let Error::ValidationFailed(violations) = error {
            details.violations = violations;
        }
        if let Error::CardDeclined(payment) = error {
            details.decline_reason = payment.decline_reason.map(DeclineReason::as_str);
        }
        if let Error::CardDeclined(payment) | Error::RiskBlocked(payment) | Error::OperationRefused(payment) =
            error
        {
            details.payment = Some(payment);
        }
        if let Error::PaymentStateInvalid { current, allowed, .. } = error {
            details.current_state = Some(current.as_str());
            details.allowed_states = allowed.iter().map(|state| state.as_str()).collect();
        }
        details
    }
}

/// What was stored of a problem, as far as a gRPC status needs it.
pub struct StoredProblem {
    /// Why.
    pub reason: Reason,
    /// On CARD_DECLINED.
    pub decline_reason: Option<String>,
    /// On PAYMENT_STATE_INVALID.
    pub current_state: Option<String>,
    /// On PAYMENT_STATE_INVALID.
    pub allowed_states: Vec<String>,
    /// On 402.
    pub payment_id: Option<String>,
}

impl StoredProblem {
    /// From a stored body.
    pub fn parse(body: &str) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        #[derive(Deserialize)]
        struct Stored {
            reason: String,
            decline_reason: Option<String>,
            current_state: Option<String>,
            #[serde(default)]
            allowed_states: Vec<String>,
            payment: Option<Named>,
        }
        let stored: Stored = read(body)?;
        Ok(Self {
            reason: Reason::parse(&stored.reason).ok_or(Unreadable)?,
            decline_reason: stored.decline_reason,
            current_state: stored.current_state,
            allowed_states: stored.allowed_states,
            payment_id: stored.payment.map(|payment| payment.id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            error::Rule,
            id::PaymentId,
            payment::{CAPTURABLE, State},
        },
        reply::{Reply, tests::paid},
    };
    use uuid::Uuid;

    #[test]
    fn the_texts_are_those_of_the_contract() {
        let table: toml::Table = include_str!("../../../../proto/errors.toml").parse().unwrap();
        assert_eq!(table["type_prefix"].as_str(), Some(TYPE_PREFIX));
        let rows = table["error"].as_array().unwrap();
        assert_eq!(rows.len(), Reason::ALL.len());
        for (row, reason) in rows.iter().zip(Reason::ALL) {
            let ours = text(*reason);
            assert_eq!(row["reason"].as_str(), Some(reason.as_str()));
            assert_eq!(row["status"].as_integer(), Some(i64::from(ours.status)), "{reason:?}");
            assert_eq!(row["title"].as_str(), Some(ours.title));
            assert_eq!(row["detail"].as_str(), Some(ours.detail));
            let retry = row.get("retry_after").and_then(toml::Value::as_integer);
            assert_eq!(retry, ours.retry_after.map(i64::from), "{reason:?}");
        }
    }

    #[test]
    fn problems_have_the_members_in_the_contracts_order() {
        let broken = Violation { field: "card.exp_month".into(), rule: Rule::OutOfRange(1, 12) };
        let problem = problem(&Error::ValidationFailed(vec![broken]));
        assert_eq!(
            problem,
            concat!(
                r#"{"type":"https://twinpay.dev/errors/validation_failed","title":"The request breaks a rule","#,
                r#""status":400,"detail":"Each violation names a member and the rule that it breaks.","#,
                r#""reason":"VALIDATION_FAILED","violations":[{"field":"card.exp_month","reason":"OUT_OF_RANGE","#,
                r#""description":"must be from 1 to 12"}]}"#
            )
        );
    }

    #[test]
    fn a_stored_problem_keeps_what_a_status_needs() {
        let declined =
            Payment { decline_reason: Some(DeclineReason::DoNotHonor), state: State::Declined, ..paid() };
        let reply = Reply::of_error(&Error::CardDeclined(Box::new(declined)));
        assert_eq!((reply.status, reply.reason()), (402, Some(Reason::CardDeclined)));
        let stored = StoredProblem::parse(&reply.body).unwrap();
        assert_eq!(stored.decline_reason.as_deref(), Some("do_not_honor"));
        assert_eq!(stored.payment_id.as_deref(), Some("pay_00000000000000000000000000"));

        let payment = PaymentId(Uuid::nil());
        let invalid = Error::PaymentStateInvalid { payment, current: State::Captured, allowed: CAPTURABLE };
        let stored = StoredProblem::parse(&Reply::of_error(&invalid).body).unwrap();
        assert_eq!(stored.current_state.as_deref(), Some("captured"));
        assert_eq!(stored.allowed_states, ["authorized", "partially_captured"]);
    }
}
