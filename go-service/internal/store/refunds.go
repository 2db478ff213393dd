package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

// refundRow has pointers for what is null or computed.
type refundRow struct {
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

var (
	getRefund   = newStatement[refundRow]("get_refund", opens)
	listRefunds = newStatement[refundRow]("list_refunds", opens)
)

// GetRefund reports false where the merchant has no such refund.
func (d *DB) GetRefund(ctx context.Context, merchantID, id uuid.UUID) (domain.Refund, bool, error) {
	row, found, err := getRefund.one(ctx, d, merchantID, id)
	if err != nil || !found {
		return domain.Refund{}, false, err
	}
	return row.refund(), true, nil
}

// ListRefunds reads up to limit of a merchant's refunds before one of them, newest first; nil: from the newest, of any payment.
func (d *DB) ListRefunds(ctx context.Context, merchantID uuid.UUID, before, paymentID *uuid.UUID, limit int) ([]domain.Refund, error) {
	rows, err := listRefunds.all(ctx, d, merchantID, before, paymentID, int64(limit))
	return convert(rows, (*refundRow).refund), err
}

func (row *refundRow) refund() domain.Refund {
	return domain.Refund{
		ID: row.ID, PaymentID: row.PaymentID, Amount: *row.Amount, Currency: row.Currency, State: row.State, Reason: orZero(row.Reason),
		FailureReason: orZero(row.FailureReason), CreatedAt: row.CreatedAt, UpdatedAt: *row.UpdatedAt,
	}
}
