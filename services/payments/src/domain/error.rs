//! Everything that can keep a request from being done: one reason per meaning. What isn't a reason that a client can act on is
//! internal, and keeps its source for the log.

use std::borrow::Cow;

use super::{
    id::PaymentId,
    payment::{Payment, State},
};

/// What went wrong below, for the log alone; a client never sees its text.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a request wasn't done. Doors render it by its [`Reason`] and nothing else.
#[derive(Debug)]
pub enum Error {
    /// The body isn't strict JSON of the documented shape.
    MalformedBody,
    /// Members that break a rule, in declared order.
    ValidationFailed(Vec<Violation>),
    /// A well-shaped currency that isn't listed.
    CurrencyUnsupported,
    /// Luhn fails, or the card has expired.
    CardInvalid,
    /// Required here, and absent.
    IdempotencyKeyMissing,
    /// Not 1 to 255 visible ASCII characters, or sent twice.
    IdempotencyKeyInvalid,
    /// No credential, or none that is known.
    Unauthenticated,
    /// The issuer said no; the payment is declined.
    CardDeclined(Box<Payment>),
    /// A risk rule said no; the payment is declined, the network wasn't asked.
    RiskBlocked(Box<Payment>),
    /// The network refused a later operation; the payment is unchanged.
    OperationRefused(Box<Payment>),
    /// A right credential of the wrong kind.
    PermissionDenied,
    /// Unknown, malformed, or another merchant's.
    ResourceNotFound,
    /// Not a path of this API.
    RouteNotFound,
    /// A path of this API with another method; which it allows.
    MethodNotAllowed(&'static str),
    /// The payment isn't in a state from which this may start.
    PaymentStateInvalid {
        /// Which payment.
        payment: PaymentId,
        /// Where it is.
        current: State,
        /// Where it would have to be.
        allowed: &'static [State],
    },
    /// More than what is left to capture.
    AmountExceedsCapturable(PaymentId),
    /// More than what is captured and not yet refunded.
    AmountExceedsRefundable(PaymentId),
    /// Another operation of the payment is pending.
    PaymentBusy(PaymentId),
    /// The first request with this key is still running.
    IdempotencyInProgress,
    /// Another payment of this merchant has the reference.
    DuplicateReference,
    /// A body over the limit.
    PayloadTooLarge,
    /// Not application/json.
    UnsupportedMediaType,
    /// The key belongs to a request with other content.
    IdempotencyKeyReused,
    /// A bug, or something that no rule foresees.
    Internal(Cause),
    /// Shed before any write.
    Overloaded(Option<Cause>),
    /// The network can't be reached, and nothing is claimed.
    AcquirerUnavailable(Cause),
    /// The deadline passed before any write.
    DeadlineExceeded,
    /// A write or the network's answer is unclear; the recovery settles it.
    OutcomeUnknown(Option<PaymentId>, Option<Cause>),
    /// Not a cursor of this list, merchant and filter.
    CursorInvalid,
    /// The body came too slowly.
    RequestTimeout,
    /// The API key asks too often.
    RateLimited,
}

impl Error {
    /// The word for it that clients switch on.
    pub fn reason(&self) -> Reason {
        match self {
            Self::MalformedBody => Reason::MalformedBody,
            Self::ValidationFailed(_) => Reason::ValidationFailed,
            Self::CurrencyUnsupported => Reason::CurrencyUnsupported,
            Self::CardInvalid => Reason::CardInvalid,
            Self::IdempotencyKeyMissing => Reason::IdempotencyKeyMissing,
            Self::IdempotencyKeyInvalid => Reason::IdempotencyKeyInvalid,
            Self::Unauthenticated => Reason::Unauthenticated,
            Self::CardDeclined(_) => Reason::CardDeclined,
            Self::RiskBlocked(_) => Reason::RiskBlocked,
            Self::OperationRefused(_) => Reason::OperationRefused,
            Self::PermissionDenied => Reason::PermissionDenied,
            Self::ResourceNotFound => Reason::ResourceNotFound,
            Self::RouteNotFound => Reason::RouteNotFound,
            Self::MethodNotAllowed(_) => Reason::MethodNotAllowed,
            Self::PaymentStateInvalid { .. } => Reason::PaymentStateInvalid,
            Self::AmountExceedsCapturable(_) => Reason::AmountExceedsCapturable,
            Self::AmountExceedsRefundable(_) => Reason::AmountExceedsRefundable,
            Self::PaymentBusy(_) => Reason::PaymentBusy,
            Self::IdempotencyInProgress => Reason::IdempotencyInProgress,
            Self::DuplicateReference => Reason::DuplicateReference,
            Self::PayloadTooLarge => Reason::PayloadTooLarge,
            Self::UnsupportedMediaType => Reason::UnsupportedMediaType,
            Self::IdempotencyKeyReused => Reason::IdempotencyKeyReused,
            Self::Internal(_) => Reason::Internal,
            Self::Overloaded(_) => Reason::Overloaded,
            Self::AcquirerUnavailable(_) => Reason::AcquirerUnavailable,
            Self::DeadlineExceeded => Reason::DeadlineExceeded,
            Self::OutcomeUnknown(..) => Reason::OutcomeUnknown,
            Self::CursorInvalid => Reason::CursorInvalid,
            Self::RequestTimeout => Reason::RequestTimeout,
            Self::RateLimited => Reason::RateLimited,
        }
    }

    /// What lies behind it, for the log.
    pub fn cause(&self) -> Option<&Cause> {
        if let Self::Internal(cause) | Self::AcquirerUnavailable(cause) = self {
            return Some(cause);
        }
        if let Self::Overloaded(cause) | Self::OutcomeUnknown(_, cause) = self {
            return cause.as_ref();
        }
        None
    }

    /// The payment that it is about, where the client may know it.
    pub fn payment(&self) -> Option<PaymentId> {
        if let Self::CardDeclined(payment) | Self::RiskBlocked(payment) | Self::OperationRefused(payment) =
            self
        {
            return Some(payment.id);
        }
        if let Self::PaymentStateInvalid { payment, .. }
        | Self::AmountExceedsCapturable(payment)
        | Self::AmountExceedsRefundable(payment)
        | Self::PaymentBusy(payment) = self
        {
            return Some(*payment);
        }
        if let Self::OutcomeUnknown(payment, _) = self { *payment } else { None }
    }
}

/// Declares an enum of names that are written as they stand in `proto/`.
macro_rules! names {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "proto/ says what each means")]
        pub enum $name { $($variant,)* }

        impl $name {
            /// All, in the order of `proto/`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As it is written everywhere.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// None where there is no such name.
            pub fn parse(text: &str) -> Option<Self> {
                Some(match text { $($text => Self::$variant,)* _ => return None })
            }
        }
    };
}
pub(crate) use names;

names! {
    /// Why, in one word: `payments.v1.ErrorReason`.
    Reason {
        MalformedBody = "MALFORMED_BODY",
        ValidationFailed = "VALIDATION_FAILED",
        CurrencyUnsupported = "CURRENCY_UNSUPPORTED",
        CardInvalid = "CARD_INVALID",
        IdempotencyKeyMissing = "IDEMPOTENCY_KEY_MISSING",
        IdempotencyKeyInvalid = "IDEMPOTENCY_KEY_INVALID",
        Unauthenticated = "UNAUTHENTICATED",
        CardDeclined = "CARD_DECLINED",
        RiskBlocked = "RISK_BLOCKED",
        OperationRefused = "OPERATION_REFUSED",
        PermissionDenied = "PERMISSION_DENIED",
        ResourceNotFound = "RESOURCE_NOT_FOUND",
        RouteNotFound = "ROUTE_NOT_FOUND",
        MethodNotAllowed = "METHOD_NOT_ALLOWED",
        PaymentStateInvalid = "PAYMENT_STATE_INVALID",
        AmountExceedsCapturable = "AMOUNT_EXCEEDS_CAPTURABLE",
        PaymentBusy = "PAYMENT_BUSY",
        IdempotencyInProgress = "IDEMPOTENCY_IN_PROGRESS",
        DuplicateReference = "DUPLICATE_REFERENCE",
        PayloadTooLarge = "PAYLOAD_TOO_LARGE",
        UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE",
        IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED",
        Internal = "INTERNAL",
        Overloaded = "OVERLOADED",
        AcquirerUnavailable = "ACQUIRER_UNAVAILABLE",
        DeadlineExceeded = "DEADLINE_EXCEEDED",
        OutcomeUnknown = "OUTCOME_UNKNOWN",
        AmountExceedsRefundable = "AMOUNT_EXCEEDS_REFUNDABLE",
        CursorInvalid = "CURSOR_INVALID",
        RequestTimeout = "REQUEST_TIMEOUT",
        RateLimited = "RATE_LIMITED",
    }
}

/// One member that breaks a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its dotted name.
    pub field: Cow<'static, str>,
    /// Which rule.
    pub rule: Rule,
}

/// The rules that a member can break; the texts are those of `proto/errors.toml`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Absent.
    Required,
    /// An integer outside of its bounds.
    OutOfRange(i64, i64),
    /// A text below its length in bytes.
    TooShort(usize),
    /// A text above its length in bytes.
    TooLong(usize),
    /// A map with too many members.
    TooMany(usize),
    /// Not of the shape that it must have.
    Malformed,
    /// Not one of an enum's names.
    UnknownValue,
    /// A NUL in a text.
    HasNul,
    /// A null where a text must be.
    NullValue,
    /// A query parameter that the operation doesn't have.
    UnknownParameter,
    /// A query parameter that is there twice.
    DuplicateParameter,
}

impl Rule {
    /// The word for it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "REQUIRED",
            Self::OutOfRange(..) => "OUT_OF_RANGE",
            Self::TooShort(_) => "TOO_SHORT",
            Self::TooLong(_) => "TOO_LONG",
            Self::TooMany(_) => "TOO_MANY",
            Self::Malformed => "MALFORMED",
            Self::UnknownValue => "UNKNOWN_VALUE",
            Self::HasNul => "HAS_NUL",
            Self::NullValue => "NULL_VALUE",
            Self::UnknownParameter => "UNKNOWN_PARAMETER",
            Self::DuplicateParameter => "DUPLICATE_PARAMETER",
        }
    }

    /// The sentence for it.
    pub fn description(self) -> Cow<'static, str> {
        match self {
            Self::Required => "is required".into(),
            Self::OutOfRange(min, max) => format!("must be from {min} to {max}").into(),
            Self::TooShort(min) => format!("must have at least {min} bytes").into(),
            Self::TooLong(max) => format!("must have at most {max} bytes").into(),
            Self::TooMany(max) => format!("must have at most {max} members").into(),
            Self::Malformed => "is malformed".into(),
            Self::UnknownValue => "isn't one of the listed values".into(),
            Self::HasNul => "must not contain NUL".into(),
            Self::NullValue => "must not be null".into(),
            Self::UnknownParameter => "isn't a parameter of this operation".into(),
            Self::DuplicateParameter => "is given more than once".into(),
        }
    }
}

/// More than this a client isn't told at once.
const MAX_VIOLATIONS: usize = 20;

/// Collects violations in the order in which members are declared.
#[derive(Default, Debug)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Another one.
    pub fn add(&mut self, field: impl Into<Cow<'static, str>>, rule: Rule) {
        if self.0.len() < MAX_VIOLATIONS {
            self.0.push(Violation { field: field.into(), rule });
        }
    }

    /// A required integer within its bounds.
    pub fn integer(&mut self, field: &'static str, value: Option<i64>, min: i64, max: i64) -> Option<i64> {
        if value.is_none() {
            self.add(field, Rule::Required);
        }
        self.optional_integer(field, value, min, max)
    }

    /// An integer within its bounds, if there is one.
    pub fn optional_integer(
        &mut self,
        field: &'static str,
        value: Option<i64>,
        min: i64,
        max: i64,
    ) -> Option<i64> {
        let value = value?;
        if !(min..=max).contains(&value) {
            self.add(field, Rule::OutOfRange(min, max));
            return None;
        }
        Some(value)
    }

    /// What a text was parsed into, if there is one; nothing came of a text that breaks `rule`.
    pub fn optional<T>(&mut self, field: &'static str, parsed: Option<Option<T>>, rule: Rule) -> Option<T> {
        if let Some(None) = parsed {
            self.add(field, rule);
        }
        parsed.flatten()
    }

    /// A required text of so many bytes, without NUL.
    pub fn text(
        &mut self,
        field: &'static str,
        value: Option<String>,
        min: usize,
        max: usize,
    ) -> Option<String> {
        let Some(value) = value else {
            self.add(field, Rule::Required);
            return None;
        };
        match text_rule(&value, min, max) {
            None => Some(value),
            Some(rule) => {
                self.add(field, rule);
                None
            }
        }
    }

    /// A required text of so many ASCII digits.
    pub fn digits(&mut self, field: &'static str, value: Option<&str>, min: usize, max: usize) {
        match value {
            None => self.add(field, Rule::Required),
            Some(value) if value.len() < min => self.add(field, Rule::TooShort(min)),
            Some(value) if value.len() > max => self.add(field, Rule::TooLong(max)),
            Some(value) if value.bytes().all(|b| b.is_ascii_digit()) => {}
            Some(_) => self.add(field, Rule::Malformed),
        }
    }

    /// The error, if there is one.
    pub fn check(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::ValidationFailed(self.0)) }
    }
}

/// The rule that a text breaks, its length first.
pub fn text_rule(value: &str, min: usize, max: usize) -> Option<Rule> {
    if value.len() < min {
        return Some(Rule::TooShort(min));
    }
    if value.len() > max {
        return Some(Rule::TooLong(max));
    }
    value.contains('\0').then_some(Rule::HasNul)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_say_what_the_contract_says() {
        let table: toml::Table = include_str!("../../../../proto/errors.toml").parse().unwrap();
        let rules = [
            Rule::Required,
            Rule::OutOfRange(1, 2),
            Rule::TooShort(1),
            Rule::TooLong(2),
            Rule::TooMany(2),
            Rule::Malformed,
            Rule::UnknownValue,
            Rule::HasNul,
            Rule::NullValue,
            Rule::UnknownParameter,
            Rule::DuplicateParameter,
        ];
        for rule in rules {
            let template = table["violations"][rule.reason()].as_str().unwrap();
            assert_eq!(rule.description(), template.replace("{min}", "1").replace("{max}", "2"));
        }
    }
}
