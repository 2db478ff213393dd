package domain

import (
	"time"

	"github.com/google/uuid"
)

// RefundState is where a refund stands.
type RefundState string

// The states.
const (
	RefundPending   RefundState = "pending"
	RefundSucceeded RefundState = "succeeded"
	RefundFailed    RefundState = "failed"
)

// Refund is a refund as its merchant sees it: an operation of this kind has no row of its own that could disagree.
type Refund struct {
	ID            uuid.UUID // the operation's
	PaymentID     uuid.UUID
	Amount        int64 // asked for; moved where it succeeded
	Currency      Currency
	State         RefundState
	Reason        string // in the merchant's words; empty: none
	FailureReason string // empty: none
	CreatedAt     time.Time
	UpdatedAt     time.Time
}
