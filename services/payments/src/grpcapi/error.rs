//! Errors as `google.rpc.Status` with details: ErrorInfo always, and where they apply BadRequest, PreconditionFailure, RetryInfo.

use std::{collections::HashMap, time::Duration};

use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{
    BadRequest, ErrorDetail, ErrorInfo, FieldViolation, PreconditionFailure, PreconditionViolation,
    RetryInfo, StatusExt as _,
};

use crate::{
    domain::error::{Error, Reason, Violation},
    reply::{self, Details, Reply, StoredProblem},
};

/// Whose reasons they are.
const DOMAIN: &str = "payments.twinpay.dev";

/// The gRPC code of every reason.
pub fn code(reason: Reason) -> Code {
    match reason {
        Reason::MalformedBody
        | Reason::ValidationFailed
        | Reason::CurrencyUnsupported
        | Reason::CardInvalid
        | Reason::CursorInvalid
        | Reason::IdempotencyKeyMissing
        | Reason::IdempotencyKeyInvalid => Code::InvalidArgument,
        Reason::Unauthenticated => Code::Unauthenticated,
        Reason::CardDeclined
        | Reason::RiskBlocked
        | Reason::OperationRefused
        | Reason::PaymentStateInvalid
        | Reason::AmountExceedsCapturable
        | Reason::AmountExceedsRefundable
        | Reason::IdempotencyKeyReused => Code::FailedPrecondition,
        Reason::PermissionDenied => Code::PermissionDenied,
        Reason::ResourceNotFound => Code::NotFound,
        // The last two can't happen at this door.
        Reason::RouteNotFound | Reason::MethodNotAllowed | Reason::UnsupportedMediaType => {
            Code::Unimplemented
        }
        Reason::PaymentBusy | Reason::IdempotencyInProgress => Code::Aborted,
        Reason::DuplicateReference => Code::AlreadyExists,
        Reason::PayloadTooLarge | Reason::RateLimited => Code::ResourceExhausted,
        Reason::Internal => Code::Internal,
        Reason::Overloaded | Reason::AcquirerUnavailable => Code::Unavailable,
        Reason::DeadlineExceeded | Reason::OutcomeUnknown | Reason::RequestTimeout => Code::DeadlineExceeded,
    }
}

/// What a status says beyond its reason.
#[derive(Default)]
struct Facts {
    payment_id: Option<String>,
    decline_reason: Option<String>,
    current_state: Option<String>,
    allowed_states: Vec<String>,
}

/// An error that nothing is stored of.
pub fn refused(error: &Error) -> Status {
    let details = Details::of(error);
    let facts = Facts {
        payment_id: error.payment().map(|payment| payment.to_string()),
        decline_reason: details.decline_reason.map(str::to_owned),
        current_state: details.current_state.map(str::to_owned),
        allowed_states: details.allowed_states.iter().map(|state| (*state).to_owned()).collect(),
    };
    status(error.reason(), facts, details.violations, MetadataMap::new())
}

/// A problem that was stored; `payment` is the one in the request, for problems that don't show theirs.
pub fn stored(reply: &Reply, payment: Option<&str>) -> Status {
    let Ok(problem) = StoredProblem::parse(&reply.body) else {
        return refused(&Error::Internal("a stored problem can't be read".into()));
    };
    let facts = Facts {
        payment_id: problem.payment_id.or_else(|| payment.map(str::to_owned)),
        decline_reason: problem.decline_reason,
        current_state: problem.current_state,
        allowed_states: problem.allowed_states,
    };
    let mut metadata = MetadataMap::new();
    if reply.replayed {
        metadata.insert("idempotency-replayed", MetadataValue::from_static("true"));
    }
    status(problem.reason, facts, &[], metadata)
}

fn status(reason: Reason, facts: Facts, violations: &[Violation], metadata: MetadataMap) -> Status {
    let text = reply::text(reason);
    let mut info = HashMap::new();
    let precondition = facts.current_state.clone().map(|state| {
        let subject = facts.payment_id.clone().unwrap_or_default();
        PreconditionViolation::new("PAYMENT_STATE", subject, state)
    });
    info.extend(facts.payment_id.map(|id| ("payment_id".to_owned(), id)));
    info.extend(facts.decline_reason.map(|reason| ("decline_reason".to_owned(), reason)));
    info.extend(facts.current_state.map(|state| ("current_state".to_owned(), state)));
    if !facts.allowed_states.is_empty() {
        info.insert("allowed_states".to_owned(), facts.allowed_states.join(","));
    }
    let mut details = vec![ErrorDetail::ErrorInfo(ErrorInfo::new(reason.as_str(), DOMAIN, info))];
    if !violations.is_empty() {
        let violations: Vec<FieldViolation> = violations.iter().map(field_violation).collect();
        details.push(ErrorDetail::BadRequest(BadRequest::new(violations)));
    }
    if let Some(violation) = precondition {
        details.push(ErrorDetail::PreconditionFailure(PreconditionFailure::new(vec![violation])));
    }
    if let Some(seconds) = text.retry_after {
        let delay = Duration::from_secs(seconds.into());
        details.push(ErrorDetail::RetryInfo(RetryInfo::new(Some(delay))));
    }
    Status::with_error_details_vec_and_metadata(code(reason), text.detail, details, metadata)
}

fn field_violation(violation: &Violation) -> FieldViolation {
    let mut shown = FieldViolation::new(violation.field.clone(), violation.rule.description());
    shown.reason = violation.rule.reason().to_owned();
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        acquirer::code_name,
        domain::{
            error::Rule,
            id::PaymentId,
            payment::{CAPTURABLE, State},
        },
    };
    use payments_proto::payments::v1::ErrorReason;

    #[test]
    fn codes_are_those_of_the_contract() {
        let table: toml::Table = include_str!("../../../../proto/errors.toml").parse().unwrap();
        assert_eq!(table["domain"].as_str(), Some(DOMAIN));
        for (n, (row, reason)) in table["error"].as_array().unwrap().iter().zip(Reason::ALL).enumerate() {
            let want = row["grpc"].as_str().unwrap();
            if !want.is_empty() {
                assert_eq!(code_name(code(*reason)), want, "{reason:?}");
            }
            let number = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", reason.as_str()));
            assert_eq!(number.map(|reason| reason as usize), Some(n + 1), "{reason:?}");
        }
    }

    #[test]
    fn a_status_carries_the_details_of_its_error() {
        let payment = PaymentId(uuid::Uuid::nil());
        let invalid =
            refused(&Error::PaymentStateInvalid { payment, current: State::Captured, allowed: CAPTURABLE });
        let details = invalid.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.metadata["allowed_states"], "authorized,partially_captured");
        assert_eq!(
            (info.metadata["payment_id"].as_str(), info.domain.as_str()),
            (payment.to_string().as_str(), DOMAIN)
        );
        let violation = &details.precondition_failure().unwrap().violations[0];
        assert_eq!(
            (violation.r#type.as_str(), violation.description.as_str()),
            ("PAYMENT_STATE", "captured")
        );

        let broken = Violation { field: "amount".into(), rule: Rule::Required };
        let details = refused(&Error::ValidationFailed(vec![broken])).get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!((violation.field.as_str(), violation.reason.as_str()), ("amount", "REQUIRED"));

        let details = refused(&Error::Overloaded(None)).get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
        assert!(refused(&Error::Internal("secret".into())).message().starts_with("The outcome is unknown"));
    }
}
