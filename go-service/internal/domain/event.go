package domain

import (
	"time"

	"github.com/google/uuid"
)

// Event is an event as it was published.
type Event struct {
	ID        uuid.UUID
	Type      string // of an EventType
	Sequence  int64  // its place among the merchant's events: from 1, without gaps
	CreatedAt time.Time
	Object    []byte // as it was then: JSON
}

// EventType is what a merchant is told of.
type EventType string

// The events of a payment and its refunds.
const (
	EventPaymentCreated         EventType = "payment.created"
	EventPaymentAuthorized      EventType = "payment.authorized"
	EventPaymentCaptured        EventType = "payment.captured"
	EventPaymentDeclined        EventType = "payment.declined"
	EventPaymentVoided          EventType = "payment.voided"
	EventPaymentExpired         EventType = "payment.expired"
	EventPaymentOperationFailed EventType = "payment.operation_failed"
	EventRefundSucceeded        EventType = "refund.succeeded"
	EventRefundFailed           EventType = "refund.failed"
)

// Known reports whether there is such a type.
func (t EventType) Known() bool {
	switch t {
	case EventPaymentCreated, EventPaymentAuthorized, EventPaymentCaptured, EventPaymentDeclined, EventPaymentVoided, EventPaymentExpired,
		EventPaymentOperationFailed, EventRefundSucceeded, EventRefundFailed:
		return true
	}
	return false
}
