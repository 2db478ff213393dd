package domain

import (
	"time"

	"github.com/google/uuid"
)

// Merchant is who takes payments.
type Merchant struct {
	ID            uuid.UUID
	Name          string
	Fees          Fees
	AmountLimit   int64  // of one payment, in minor units
	VelocityLimit *int32 // authorisations of one card in 60 s; nil: no limit
	CreatedAt     time.Time
}

// APIKey is a merchant's credential.
type APIKey struct {
	ID         uuid.UUID
	MerchantID uuid.UUID
	Secret     string // the whole tp_live_…; empty but at its making
	CreatedAt  time.Time
	RevokedAt  time.Time // the first time; zero: it is good
}

// PaymentToken stands for a card.
type PaymentToken struct {
	ID        uuid.UUID
	Card      CardSummary
	CreatedAt time.Time
}
