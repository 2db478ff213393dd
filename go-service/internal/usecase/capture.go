package usecase

import (
	"context"
	"strconv"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/telemetry"
)

// CapturePayment captures a part or all of an authorised payment.
type CapturePayment struct {
	ID     string // as in the path; a malformed one is unknown
	Amount *int64 // nil: all that remains
	Final  *bool  // nil: true where no amount is given
}

// CapturePayment claims the payment, asks the acquirer and records what it said.
func (p *Payments) CapturePayment(ctx context.Context, call Call, c CapturePayment) (Reply, error) {
	check := checker{call.Violations}
	check.integerOr("amount", c.Amount, 0, 1, domain.MaxAmount)
	if err := check.err(); err != nil {
		return Reply{}, err
	}
	final := c.Amount == nil
	if c.Final != nil {
		final = *c.Final
	}
	paymentID, _ := domain.ParseID(domain.PrefixPayment, c.ID)
	now := p.now()
	key := store.Key{MerchantID: call.MerchantID, Key: call.Key, RequestHash: captureHash(c, final)}
	o := store.Operation{
		MerchantID: call.MerchantID, ID: domain.NewID(), Command: domain.Command{Kind: domain.KindCapture, Amount: c.Amount, Final: final},
		Payment: domain.Payment{ID: paymentID}, Traceparent: telemetry.Traceparent(ctx),
	}
	return p.operate(ctx, key, o, func(ctx context.Context, o store.Operation) (store.Claim, error) {
		return p.DB.ClaimOperation(ctx, key, o, domain.CaptureStates, now, now.Add(p.Lease))
	})
}

func captureHash(c CapturePayment, final bool) []byte {
	canonical := newCanonical("capture_payment", c.ID)
	if c.Amount != nil {
		canonical = canonical.integer("amount", *c.Amount)
	}
	return canonical.text("final", strconv.FormatBool(final)).hash()
}
