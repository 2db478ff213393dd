package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// CaptureMethod says whether a payment is captured at once.
type CaptureMethod string

// The ways to capture.
const (
	CaptureAutomatic CaptureMethod = "automatic"
	CaptureManual    CaptureMethod = "manual"
)

// PaymentState is where a payment stands.
type PaymentState string

// The states.
const (
	StateProcessing        PaymentState = "processing"
	StateAuthorized        PaymentState = "authorized"
	StatePartiallyCaptured PaymentState = "partially_captured"
	StateCaptured          PaymentState = "captured"
	StateDeclined          PaymentState = "declined"
	StateVoided            PaymentState = "voided"
	StateExpired           PaymentState = "expired"
)

// Known reports whether there is such a state.
func (s PaymentState) Known() bool {
	switch s {
	case StateProcessing, StateAuthorized, StatePartiallyCaptured, StateCaptured, StateDeclined, StateVoided, StateExpired:
		return true
	}
	return false
}

// DeclineReason says why a payment was declined.
type DeclineReason string

// The reasons; the last is the service's own, all others are the card network's.
const (
	DeclineInsufficientFunds DeclineReason = "insufficient_funds"
	DeclineDoNotHonor        DeclineReason = "do_not_honor"
	DeclineExpiredCard       DeclineReason = "expired_card"
	DeclineIncorrectCVC      DeclineReason = "incorrect_cvc"
	DeclineLostOrStolen      DeclineReason = "lost_or_stolen"
	DeclineProcessingError   DeclineReason = "processing_error"
	DeclineRiskBlocked       DeclineReason = "risk_blocked"
)

// Payment is a payment as its merchant sees it. The amounts keep 0 <= Refunded <= Captured <= Authorized <= Amount.
type Payment struct {
	ID                uuid.UUID
	PaymentTokenID    uuid.UUID
	Amount            int64
	Currency          Currency
	Capture           CaptureMethod
	MerchantReference string
	Description       string            // empty: none
	Metadata          map[string]string // empty: none
	State             PaymentState
	DeclineReason     DeclineReason // empty: none
	Authorized        int64
	Captured          int64
	Refunded          int64
	ExpiresAt         time.Time // zero: nothing is left to capture
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

// OperationKind is what is done to a payment.
type OperationKind string

// The operations that move money.
const (
	KindAuthorize OperationKind = "authorize"
	KindSale      OperationKind = "sale"
	KindCapture   OperationKind = "capture"
	KindVoid      OperationKind = "void"
	KindRefund    OperationKind = "refund"
)

// Known reports whether it is one of ours. A newer version may have left others behind.
func (k OperationKind) Known() bool {
	switch k {
	case KindAuthorize, KindSale, KindCapture, KindVoid, KindRefund:
		return true
	}
	return false
}

// First reports whether it is the operation that a payment is created with.
func (k OperationKind) First() bool { return k == KindAuthorize || k == KindSale }

// From are the states of a payment that it is allowed from.
func (k OperationKind) From() []PaymentState {
	switch k {
	case KindCapture, KindVoid:
		return []PaymentState{StateAuthorized, StatePartiallyCaptured}
	case KindRefund:
		return []PaymentState{StatePartiallyCaptured, StateCaptured}
	default: // KindAuthorize, KindSale
		return []PaymentState{StateProcessing}
	}
}

// Command is an operation as it was asked for.
type Command struct {
	Kind   OperationKind
	Amount *int64 // of a capture or a refund; nil: all that remains
	Final  bool   // of a capture: nothing more will be captured
	Reason string // of a refund, in the merchant's words; empty: none
}

// Decide says what amount the operation moves if the card network agrees, or why it isn't allowed. What it refuses must never reach the
// network.
func Decide(p *Payment, c Command) (int64, *Error) {
	if from := c.Kind.From(); !slices.Contains(from, p.State) {
		return 0, StateInvalid(p.ID, p.State, from...)
	}
	switch c.Kind {
	case KindAuthorize, KindSale:
		return p.Amount, nil
	case KindCapture, KindVoid, KindRefund:
		remaining, exceeded := p.Authorized-p.Captured, ReasonAmountExceedsCapturable
		if c.Kind == KindRefund {
			remaining, exceeded = p.Captured-p.Refunded, ReasonAmountExceedsRefundable
		}
		amount := remaining
		if c.Amount != nil {
			amount = *c.Amount
		}
		if remaining <= 0 || amount > remaining {
			return 0, About(exceeded, p.ID, nil)
		}
		return amount, nil
	}
	return 0, NewError(ReasonInternal) // what isn't Known is never decided on
}

// StateInvalid is the refusal of an operation in the payment's state.
func StateInvalid(paymentID uuid.UUID, current PaymentState, allowed ...PaymentState) *Error {
	return &Error{Reason: ReasonPaymentStateInvalid, PaymentID: paymentID, CurrentState: current, AllowedStates: allowed}
}

// Change is what an operation came to: all that is recorded of it.
type Change struct {
	Succeeded     bool
	Amount        int64  // moved or, where it failed, was to be moved
	FailureReason string // of the operation; empty where it succeeded
	Payment       Payment
	Journal       []Entry
	Events        []EventType
	Refusal       *Error // what the merchant is answered; nil where it succeeded
}

// Approve is the change that an operation makes when the card network agreed to move the amount that was decided.
func Approve(p Payment, c Command, amount int64, fees Fees, now time.Time) Change {
	p.UpdatedAt = now
	change := Change{Succeeded: true, Amount: amount}
	switch c.Kind {
	case KindAuthorize:
		p.State, p.Authorized = StateAuthorized, amount
		change.Events = []EventType{EventPaymentAuthorized}
	case KindSale:
		p.State, p.Authorized, p.Captured = StateCaptured, amount, amount
		change.Journal = captureJournal(amount, fees)
		change.Events = []EventType{EventPaymentAuthorized, EventPaymentCaptured}
	case KindCapture:
		p.Captured += amount
		p.State = StatePartiallyCaptured
		if p.Captured == p.Authorized || c.Final {
			p.State, p.ExpiresAt = StateCaptured, time.Time{}
		}
		change.Journal = captureJournal(amount, fees)
		change.Events = []EventType{EventPaymentCaptured}
	case KindVoid:
		p.State, p.ExpiresAt = StateVoided, time.Time{}
		if p.Captured > 0 {
			p.State = StateCaptured
		}
		change.Events = []EventType{EventPaymentVoided}
	case KindRefund:
		p.Refunded += amount
		change.Journal = refundJournal(amount)
		change.Events = []EventType{EventRefundSucceeded}
	}
	change.Payment = p
	return change
}

// Decline is the change that a payment's first operation makes when the issuer or a risk rule said no.
func Decline(p Payment, amount int64, reason DeclineReason, now time.Time) Change {
	p.State, p.DeclineReason, p.ExpiresAt, p.UpdatedAt = StateDeclined, reason, time.Time{}, now
	refusal := &Error{Reason: ReasonCardDeclined, DeclineReason: reason, PaymentID: p.ID, Payment: &p}
	if reason == DeclineRiskBlocked {
		refusal.Reason, refusal.DeclineReason = ReasonRiskBlocked, ""
	}
	return Change{Amount: amount, FailureReason: string(reason), Payment: p, Events: []EventType{EventPaymentDeclined}, Refusal: refusal}
}

// Refuse is the change that a later operation makes when the card network didn't accept it: none but the time.
func Refuse(p Payment, kind OperationKind, amount int64, now time.Time) Change {
	p.UpdatedAt = now
	event := EventPaymentOperationFailed
	if kind == KindRefund {
		event = EventRefundFailed
	}
	refusal := &Error{Reason: ReasonOperationRefused, PaymentID: p.ID, Payment: &p}
	return Change{Amount: amount, FailureReason: "refused", Payment: p, Events: []EventType{event}, Refusal: refusal}
}

// Expire is what becomes of a payment whose authorisation has lapsed; what was captured stays so. expire_payments names its event.
func Expire(p Payment, now time.Time) Payment {
	p.State, p.ExpiresAt, p.UpdatedAt = StateExpired, time.Time{}, now
	if p.Captured > 0 {
		p.State = StateCaptured
	}
	return p
}
