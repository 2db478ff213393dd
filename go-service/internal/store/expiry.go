package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

// Lapsed is a payment whose authorisation has run out.
type Lapsed struct {
	MerchantID uuid.UUID
	Payment    domain.Payment
	Version    int32 // in which it was read
}

type lapsedRow struct {
	MerchantID        uuid.UUID
	ID                uuid.UUID
	PaymentTokenID    uuid.UUID
	Amount            int64
	Currency          domain.Currency
	CaptureMethod     domain.CaptureMethod
	MerchantReference string
	Description       *string
	Metadata          map[string]string
	State             domain.PaymentState
	Authorized        int64
	Captured          int64
	Refunded          int64
	Version           int32
	ExpiresAt         *time.Time
	CreatedAt         time.Time
}

type expiredRow struct{ Expired *int64 }

var (
	findExpiredPayments = newStatement[lapsedRow]("find_expired_payments", unseen)
	expirePayments      = newStatement[expiredRow]("expire_payments", writes|unseen)
)

// FindExpiredPayments reads up to limit payments whose authorisation has run out.
func (d *DB) FindExpiredPayments(ctx context.Context, now time.Time, limit int) ([]Lapsed, error) {
	rows, err := findExpiredPayments.all(ctx, d, now, int64(limit))
	lapsed := make([]Lapsed, len(rows))
	for i, row := range rows {
		lapsed[i] = Lapsed{row.MerchantID, domain.Payment{
			ID: row.ID, PaymentTokenID: row.PaymentTokenID, Amount: row.Amount, Currency: row.Currency, Capture: row.CaptureMethod,
			MerchantReference: row.MerchantReference, Description: orZero(row.Description), Metadata: row.Metadata, State: row.State,
			Authorized: row.Authorized, Captured: row.Captured, Refunded: row.Refunded, ExpiresAt: orZero(row.ExpiresAt), CreatedAt: row.CreatedAt,
		}, row.Version}
	}
	return lapsed, err
}

// ExpirePayments records payments as they will be, with what their events show, if nothing has changed them meanwhile. It answers how many.
func (d *DB) ExpirePayments(ctx context.Context, expired []Lapsed, shown [][]byte, now time.Time) (int, error) {
	merchantIDs, ids, eventIDs := make([]uuid.UUID, len(expired)), make([]uuid.UUID, len(expired)), make([]uuid.UUID, len(expired))
	versions, states, data := make([]int32, len(expired)), make([]string, len(expired)), make([]string, len(expired))
	for i, one := range expired {
		merchantIDs[i], ids[i], eventIDs[i] = one.MerchantID, one.Payment.ID, domain.NewID()
		versions[i], states[i], data[i] = one.Version, string(one.Payment.State), string(shown[i])
	}
	row, found, err := expirePayments.one(ctx, d, merchantIDs, ids, versions, states, eventIDs, data, now)
	row, err = always(expirePayments.name, row, found, err)
	return int(orZero(row.Expired)), err
}
