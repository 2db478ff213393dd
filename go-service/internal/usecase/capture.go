package usecase

import (
	"context"
	"strconv"

	"twinpay.dev/payments/internal/domain"
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
	command := domain.Command{Kind: domain.KindCapture, Amount: c.Amount, Final: final}
	return p.operateOn(ctx, call, c.ID, command, captureHash(c, final))
}

func captureHash(c CapturePayment, final bool) []byte {
	canonical := newCanonical("capture_payment", c.ID)
	if c.Amount != nil {
		canonical = canonical.integer("amount", *c.Amount)
	}
	return canonical.text("final", strconv.FormatBool(final)).hash()
}
