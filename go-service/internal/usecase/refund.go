package usecase

import (
	"context"

	"twinpay.dev/payments/internal/domain"
)

// maxReasonLength is in bytes.
const maxReasonLength = 200

// CreateRefund gives back a part or all of what was captured.
type CreateRefund struct {
	ID     string  // the payment's, as in the path; a malformed one is unknown
	Amount *int64  // nil: all that remains
	Reason *string // an empty one is as nil
}

// CreateRefund claims the payment, asks the acquirer and records what it said. The reply is the refund.
func (p *Payments) CreateRefund(ctx context.Context, call Call, c CreateRefund) (Reply, error) {
	check := checker{call.Violations}
	check.integerOr("amount", c.Amount, 0, 1, domain.MaxAmount)
	command := domain.Command{Kind: domain.KindRefund, Amount: c.Amount}
	if c.Reason != nil {
		check.length("reason", *c.Reason, 0, maxReasonLength)
		command.Reason = *c.Reason
	}
	if err := check.err(); err != nil {
		return Reply{}, err
	}
	return p.operateOn(ctx, call, c.ID, command, refundHash(c.ID, command))
}

func refundHash(id string, c domain.Command) []byte {
	canonical := newCanonical("create_refund", id)
	if c.Amount != nil {
		canonical = canonical.integer("amount", *c.Amount)
	}
	if c.Reason != "" {
		canonical = canonical.text("reason", c.Reason)
	}
	return canonical.hash()
}
