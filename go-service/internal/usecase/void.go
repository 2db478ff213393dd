package usecase

import (
	"context"

	"twinpay.dev/payments/internal/domain"
)

// VoidPayment releases what isn't captured of the payment with this id, as it was sent. It claims the payment, asks the acquirer and records
// what it said.
func (p *Payments) VoidPayment(ctx context.Context, call Call, id string) (Reply, error) {
	check := checker{call.Violations}
	if err := check.err(); err != nil {
		return Reply{}, err
	}
	return p.operateOn(ctx, call, id, domain.Command{Kind: domain.KindVoid}, voidHash(id))
}

func voidHash(id string) []byte { return newCanonical("void_payment", id).hash() }
