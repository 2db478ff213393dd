package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

// getRefundRow has pointers for what is null or computed.
type getRefundRow struct {
	ID            uuid.UUID
	PaymentID     uuid.UUID
	Amount        *int64
	Currency      domain.Currency
	State         domain.RefundState
	Reason        *string
	FailureReason *string
	CreatedAt     time.Time
	UpdatedAt     *time.Time
}

var getRefund = newStatement[getRefundRow]("get_refund", opens)

// GetRefund reports false where the merchant has no such refund.
func (d *DB) GetRefund(ctx context.Context, merchantID, id uuid.UUID) (domain.Refund, bool, error) {
	row, found, err := getRefund.one(ctx, d, merchantID, id)
	if err != nil || !found {
		return domain.Refund{}, false, err
	}
	return domain.Refund{
		ID: row.ID, PaymentID: row.PaymentID, Amount: *row.Amount, Currency: row.Currency, State: row.State, Reason: orZero(row.Reason),
		FailureReason: orZero(row.FailureReason), CreatedAt: row.CreatedAt, UpdatedAt: *row.UpdatedAt,
	}, true, nil
}
