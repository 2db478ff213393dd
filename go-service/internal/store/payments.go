package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/reply"
)

type claimPaymentRow struct {
	outcomeRow
	RiskBlocked  *bool
	NetworkToken *string
	FeeBps       *int32
	FeeFixed     *int64
}

var claimPayment = newStatement[claimPaymentRow]("claim_payment", opens|writes)

// ClaimPayment takes the key and creates the payment with its pending operation. It answers with Claimed, Replay, KeyReused, InProgress,
// NotFound (the payment token) or LookAgain. DUPLICATE_REFERENCE leaves the key free.
func (d *DB) ClaimPayment(ctx context.Context, key Key, o Operation, leasedUntil time.Time) (Claim, error) {
	p := &o.Payment
	row, found, err := claimPayment.one(ctx, d, key.MerchantID, key.Key, key.RequestHash, p.ID, o.ID, string(o.Command.Kind), p.PaymentTokenID,
		p.Amount, string(p.Currency), string(p.Capture), p.MerchantReference, nullText(p.Description), reply.AppendMetadata(nil, p.Metadata),
		nullTime(p.ExpiresAt), p.CreatedAt, leasedUntil, domain.NewID(), reply.Payment(p), nullText(o.Traceparent))
	row, err = always(claimPayment.name, row, found, err)
	claim := row.claim()
	if err == nil && claim.Outcome == Claimed {
		o.RiskBlocked, o.NetworkToken, o.Fees = *row.RiskBlocked, *row.NetworkToken, domain.Fees{BPS: *row.FeeBps, Fixed: *row.FeeFixed}
		claim.Operation = o
	}
	return claim, err
}

type paymentRow struct {
	ID                uuid.UUID
	PaymentTokenID    uuid.UUID
	Amount            int64
	Currency          domain.Currency
	CaptureMethod     domain.CaptureMethod
	MerchantReference string
	Description       *string
	Metadata          map[string]string
	State             domain.PaymentState
	DeclineReason     *domain.DeclineReason
	Authorized        int64
	Captured          int64
	Refunded          int64
	ExpiresAt         *time.Time
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

var (
	getPayment   = newStatement[paymentRow]("get_payment", opens)
	listPayments = newStatement[paymentRow]("list_payments", opens)
)

// GetPayment reports false where the merchant has no such payment.
func (d *DB) GetPayment(ctx context.Context, merchantID, id uuid.UUID) (domain.Payment, bool, error) {
	row, found, err := getPayment.one(ctx, d, merchantID, id)
	return row.payment(), found, err
}

// ListPayments reads up to limit of a merchant's payments before one of them, newest first; nil: from the newest, in any state, with any
// token.
func (d *DB) ListPayments(ctx context.Context, merchantID uuid.UUID, before *uuid.UUID, state *domain.PaymentState, tokenID *uuid.UUID, limit int) ([]domain.Payment, error) {
	rows, err := listPayments.all(ctx, d, merchantID, before, (*string)(state), tokenID, int64(limit))
	return convert(rows, (*paymentRow).payment), err
}

// convert turns rows into values of the domain.
func convert[R, T any](rows []R, value func(*R) T) []T {
	values := make([]T, len(rows))
	for i := range rows {
		values[i] = value(&rows[i])
	}
	return values
}

func (row *paymentRow) payment() domain.Payment {
	return domain.Payment{
		ID: row.ID, PaymentTokenID: row.PaymentTokenID, Amount: row.Amount, Currency: row.Currency, Capture: row.CaptureMethod,
		MerchantReference: row.MerchantReference, Description: orZero(row.Description), Metadata: row.Metadata, State: row.State,
		DeclineReason: orZero(row.DeclineReason), Authorized: row.Authorized, Captured: row.Captured, Refunded: row.Refunded,
		ExpiresAt: orZero(row.ExpiresAt), CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
}

// orZero is for nulls whose absence the domain shows by the zero value.
func orZero[T any](value *T) (zero T) {
	if value == nil {
		return zero
	}
	return *value
}

func nullText[T ~string](text T) *string {
	if text == "" {
		return nil
	}
	plain := string(text)
	return &plain
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
