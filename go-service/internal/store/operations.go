package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

// Operation is a pending operation whose lease is ours, with all that is needed to decide, to ask the acquirer and to record.
type Operation struct {
	MerchantID   uuid.UUID
	ID           uuid.UUID
	LeaseToken   int64 // 0: the request that claimed it; each recovery adds 1
	Command      domain.Command
	Payment      domain.Payment // locked: nothing else can change it
	Fees         domain.Fees
	NetworkToken string
	RiskBlocked  bool
	Traceparent  string // of the request that claimed it
	CreatedAt    time.Time
}

// claimOperationRow has a pointer for every column, since all come from left joins.
type claimOperationRow struct {
	outcomeRow
	PaymentTokenID    *uuid.UUID
	Amount            *int64
	Currency          *domain.Currency
	CaptureMethod     *domain.CaptureMethod
	MerchantReference *string
	Description       *string
	Metadata          map[string]string
	State             *domain.PaymentState
	Authorized        *int64
	Captured          *int64
	Refunded          *int64
	Version           *int32
	ExpiresAt         *time.Time
	CreatedAt         *time.Time
	NetworkToken      *string
	FeeBps            *int32
	FeeFixed          *int64
}

var (
	claimOperation         = newStatement[claimOperationRow]("claim_operation", opens|writes)
	recordOperation        = newStatement[paymentIDRow]("record_operation", writes)
	rejectOperation        = newStatement[paymentIDRow]("reject_operation", writes)
	releaseOperation       = newStatement[idRow]("release_operation", writes)
	leasePendingOperations = newStatement[leasedRow]("lease_pending_operations", writes|unseen)
)

type paymentIDRow struct{ PaymentID uuid.UUID }

// ClaimOperation takes the key and locks the payment, if it is in a state that the operation is allowed from. It answers with Claimed, Replay, KeyReused, InProgress,
// NotFound, Busy, StateInvalid or LookAgain.
func (d *DB) ClaimOperation(ctx context.Context, key Key, o Operation, now, leasedUntil time.Time) (Claim, error) {
	var final *bool
	if o.Command.Kind == domain.KindCapture {
		final = &o.Command.Final
	}
	row, found, err := claimOperation.one(ctx, d, key.MerchantID, key.Key, key.RequestHash, o.Payment.ID, o.ID, string(o.Command.Kind),
		o.Command.Amount, final, now, leasedUntil, nullText(o.Traceparent), o.Command.Kind.From(), nullText(o.Command.Reason))
	row, err = always(claimOperation.name, row, found, err)
	claim := row.claim()
	claim.State = orZero(row.State)
	if err == nil && claim.Outcome == Claimed {
		o.NetworkToken, o.Fees = *row.NetworkToken, domain.Fees{BPS: *row.FeeBps, Fixed: *row.FeeFixed}
		o.Payment = domain.Payment{
			ID: o.Payment.ID, PaymentTokenID: *row.PaymentTokenID, Amount: *row.Amount, Currency: *row.Currency, Capture: *row.CaptureMethod,
			MerchantReference: *row.MerchantReference, Description: orZero(row.Description), Metadata: row.Metadata, State: *row.State,
			Authorized: *row.Authorized, Captured: *row.Captured, Refunded: *row.Refunded, ExpiresAt: orZero(row.ExpiresAt), CreatedAt: *row.CreatedAt,
		}
		claim.Operation = o
	}
	return claim, err
}

// RecordOperation writes what the operation came to and the reply; its events carry the object, the payment or the refund. It reports false where somebody else did or will.
func (d *DB) RecordOperation(ctx context.Context, o *Operation, c *domain.Change, object []byte, answer Stored) (bool, error) {
	p := &c.Payment
	state := "failed"
	if c.Succeeded {
		state = "succeeded"
	}
	entryIDs, accounts, amounts := make([]uuid.UUID, len(c.Journal)), make([]string, len(c.Journal)), make([]int64, len(c.Journal))
	for i, entry := range c.Journal {
		entryIDs[i], accounts[i], amounts[i] = domain.NewID(), string(entry.Account), entry.Amount
	}
	eventIDs, types, data := make([]uuid.UUID, len(c.Events)), make([]string, len(c.Events)), make([]string, len(c.Events))
	for i, event := range c.Events {
		eventIDs[i], types[i], data[i] = domain.NewID(), string(event), string(object)
	}
	_, found, err := recordOperation.one(ctx, d, o.MerchantID, o.ID, o.LeaseToken, state, c.Amount, nullText(c.FailureReason), string(p.State),
		p.Authorized, p.Captured, p.Refunded, nullText(p.DeclineReason), nullTime(p.ExpiresAt), p.UpdatedAt, entryIDs, accounts, amounts,
		string(p.Currency), eventIDs, types, data, int16(answer.Status), answer.Body)
	return found, err
}

// RejectOperation undoes a claim that the domain refused and stores the reply. It reports false where the lease isn't ours any more.
func (d *DB) RejectOperation(ctx context.Context, o *Operation, answer Stored) (bool, error) {
	_, found, err := rejectOperation.one(ctx, d, o.MerchantID, o.ID, o.LeaseToken, int16(answer.Status), answer.Body)
	return found, err
}

// ReleaseOperation hands the operation to the recovery at a time before the lease would have ended.
func (d *DB) ReleaseOperation(ctx context.Context, o *Operation, at time.Time) error {
	_, _, err := releaseOperation.one(ctx, d, o.MerchantID, o.ID, o.LeaseToken, at)
	return err
}

type leasedRow struct {
	MerchantID         uuid.UUID
	OperationID        uuid.UUID
	Kind               domain.OperationKind
	RequestedAmount    *int64
	Final              *bool
	Reason             *string
	RiskBlocked        bool
	LeaseToken         int64
	Traceparent        *string
	OperationCreatedAt time.Time
	PaymentID          uuid.UUID
	PaymentTokenID     uuid.UUID
	Amount             int64
	Currency           domain.Currency
	CaptureMethod      domain.CaptureMethod
	MerchantReference  string
	Description        *string
	Metadata           map[string]string
	State              domain.PaymentState
	Authorized         int64
	Captured           int64
	Refunded           int64
	Version            int32
	ExpiresAt          *time.Time
	CreatedAt          time.Time
	NetworkToken       string
	FeeBps             int32
	FeeFixed           int64
}

// LeasePendingOperations takes up to limit operations whose lease has ended. It skips those of a kind that we don't know: their payments
// stay as they are until a version that knows it comes by.
func (d *DB) LeasePendingOperations(ctx context.Context, now, leasedUntil time.Time, limit int) ([]Operation, error) {
	rows, err := leasePendingOperations.all(ctx, d, now, leasedUntil, int64(limit))
	operations := make([]Operation, 0, len(rows))
	for _, row := range rows {
		if !row.Kind.Known() {
			d.telemetry.Log.ErrorContext(ctx, "an operation that this program can't read stays pending",
				"operation", domain.FormatID(domain.PrefixOperation, row.OperationID), "kind", string(row.Kind))
			continue
		}
		operations = append(operations, row.operation())
	}
	return operations, err
}

func (r *leasedRow) operation() Operation {
	return Operation{
		MerchantID: r.MerchantID, ID: r.OperationID, LeaseToken: r.LeaseToken,
		Command: domain.Command{Kind: r.Kind, Amount: r.RequestedAmount, Final: orZero(r.Final), Reason: orZero(r.Reason)},
		Payment: domain.Payment{
			ID: r.PaymentID, PaymentTokenID: r.PaymentTokenID, Amount: r.Amount, Currency: r.Currency, Capture: r.CaptureMethod,
			MerchantReference: r.MerchantReference, Description: orZero(r.Description), Metadata: r.Metadata, State: r.State,
			Authorized: r.Authorized, Captured: r.Captured, Refunded: r.Refunded, ExpiresAt: orZero(r.ExpiresAt), CreatedAt: r.CreatedAt,
		},
		Fees: domain.Fees{BPS: r.FeeBps, Fixed: r.FeeFixed}, NetworkToken: r.NetworkToken, RiskBlocked: r.RiskBlocked, Traceparent: orZero(r.Traceparent),
		CreatedAt: r.OperationCreatedAt,
	}
}
