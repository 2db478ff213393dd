package domain

import (
	"github.com/google/uuid"
)

// Reason says in one word why a request wasn't done: a name of payments.v1.ErrorReason without its prefix.
type Reason string

// The reasons, in the order of proto/errors.toml.
const (
	ReasonMalformedBody           Reason = "MALFORMED_BODY"
	ReasonValidationFailed        Reason = "VALIDATION_FAILED"
	ReasonCurrencyUnsupported     Reason = "CURRENCY_UNSUPPORTED"
	ReasonCardInvalid             Reason = "CARD_INVALID"
	ReasonIdempotencyKeyMissing   Reason = "IDEMPOTENCY_KEY_MISSING"
	ReasonIdempotencyKeyInvalid   Reason = "IDEMPOTENCY_KEY_INVALID"
	ReasonUnauthenticated         Reason = "UNAUTHENTICATED"
	ReasonCardDeclined            Reason = "CARD_DECLINED"
	ReasonRiskBlocked             Reason = "RISK_BLOCKED"
	ReasonOperationRefused        Reason = "OPERATION_REFUSED"
	ReasonPermissionDenied        Reason = "PERMISSION_DENIED"
	ReasonResourceNotFound        Reason = "RESOURCE_NOT_FOUND"
	ReasonRouteNotFound           Reason = "ROUTE_NOT_FOUND"
	ReasonMethodNotAllowed        Reason = "METHOD_NOT_ALLOWED"
	ReasonPaymentStateInvalid     Reason = "PAYMENT_STATE_INVALID"
	ReasonAmountExceedsCapturable Reason = "AMOUNT_EXCEEDS_CAPTURABLE"
	ReasonPaymentBusy             Reason = "PAYMENT_BUSY"
	ReasonIdempotencyInProgress   Reason = "IDEMPOTENCY_IN_PROGRESS"
	ReasonDuplicateReference      Reason = "DUPLICATE_REFERENCE"
	ReasonPayloadTooLarge         Reason = "PAYLOAD_TOO_LARGE"
	ReasonUnsupportedMediaType    Reason = "UNSUPPORTED_MEDIA_TYPE"
	ReasonIdempotencyKeyReused    Reason = "IDEMPOTENCY_KEY_REUSED"
	ReasonInternal                Reason = "INTERNAL"
	ReasonOverloaded              Reason = "OVERLOADED"
	ReasonAcquirerUnavailable     Reason = "ACQUIRER_UNAVAILABLE"
	ReasonDeadlineExceeded        Reason = "DEADLINE_EXCEEDED"
	ReasonOutcomeUnknown          Reason = "OUTCOME_UNKNOWN"
	ReasonAmountExceedsRefundable Reason = "AMOUNT_EXCEEDS_REFUNDABLE"
	ReasonCursorInvalid           Reason = "CURSOR_INVALID"
	ReasonRequestTimeout          Reason = "REQUEST_TIMEOUT"
	ReasonRateLimited             Reason = "RATE_LIMITED"
)

// Error is the one error that doors render. What isn't one of these is internal: a door shows nothing of it.
type Error struct {
	Reason        Reason
	Violations    []Violation    // VALIDATION_FAILED
	DeclineReason DeclineReason  // CARD_DECLINED
	CurrentState  PaymentState   // PAYMENT_STATE_INVALID
	AllowedStates []PaymentState // PAYMENT_STATE_INVALID
	PaymentID     uuid.UUID      // of a payment that is concerned; nil elsewhere
	Payment       *Payment       // on the three reasons of a payment that was declined or refused
	Cause         error          // for the log alone
}

// NewError makes an error that says nothing but its reason.
func NewError(reason Reason) *Error { return &Error{Reason: reason} }

// Because makes an error with the cause that the log shows.
func Because(reason Reason, cause error) *Error { return &Error{Reason: reason, Cause: cause} }

// About makes an error that concerns a payment.
func About(reason Reason, paymentID uuid.UUID, cause error) *Error {
	return &Error{Reason: reason, PaymentID: paymentID, Cause: cause}
}

// Error is for logs: it names the reason and the cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// ViolationReason says which rule a member breaks.
type ViolationReason string

// The rules, as in proto/errors.toml.
const (
	Required           ViolationReason = "REQUIRED"
	OutOfRange         ViolationReason = "OUT_OF_RANGE"
	TooShort           ViolationReason = "TOO_SHORT"
	TooLong            ViolationReason = "TOO_LONG"
	TooMany            ViolationReason = "TOO_MANY"
	Malformed          ViolationReason = "MALFORMED"
	UnknownValue       ViolationReason = "UNKNOWN_VALUE"
	HasNUL             ViolationReason = "HAS_NUL"
	NullValue          ViolationReason = "NULL_VALUE"
	UnknownParameter   ViolationReason = "UNKNOWN_PARAMETER"
	DuplicateParameter ViolationReason = "DUPLICATE_PARAMETER"
)

// Violation is a member of a request that breaks a rule.
type Violation struct {
	Field  string // dotted
	Reason ViolationReason
	Min    int64 // OUT_OF_RANGE, TOO_SHORT
	Max    int64 // OUT_OF_RANGE, TOO_LONG, TOO_MANY
}
