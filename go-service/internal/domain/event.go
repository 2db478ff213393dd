package domain

// EventType is what a merchant is told of.
type EventType string

// The events of a payment and its refunds.
const (
	EventPaymentCreated         EventType = "payment.created"
	EventPaymentAuthorized      EventType = "payment.authorized"
	EventPaymentCaptured        EventType = "payment.captured"
	EventPaymentVoided          EventType = "payment.voided"
	EventPaymentDeclined        EventType = "payment.declined"
	EventPaymentOperationFailed EventType = "payment.operation_failed"
	EventRefundSucceeded        EventType = "refund.succeeded"
	EventRefundFailed           EventType = "refund.failed"
)
