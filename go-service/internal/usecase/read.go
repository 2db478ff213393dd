package usecase

import (
	"context"

	"twinpay.dev/payments/internal/domain"
)

// GetPayment reads a payment of the merchant by its id in the path; a malformed one is unknown.
func (p *Payments) GetPayment(ctx context.Context, call Call, id string) (domain.Payment, error) {
	check := checker{call.Violations}
	if err := check.err(); err != nil {
		return domain.Payment{}, err
	}
	paymentID, _ := domain.ParseID(domain.PrefixPayment, id)
	payment, found, err := p.DB.GetPayment(ctx, call.MerchantID, paymentID)
	if err == nil && !found {
		err = domain.NewError(domain.ReasonResourceNotFound)
	}
	return payment, err
}

// GetRefund reads a refund of the merchant by its id in the path; a malformed one is unknown.
func (p *Payments) GetRefund(ctx context.Context, call Call, id string) (domain.Refund, error) {
	check := checker{call.Violations}
	if err := check.err(); err != nil {
		return domain.Refund{}, err
	}
	refundID, _ := domain.ParseID(domain.PrefixRefund, id)
	refund, found, err := p.DB.GetRefund(ctx, call.MerchantID, refundID)
	if err == nil && !found {
		err = domain.NewError(domain.ReasonResourceNotFound)
	}
	return refund, err
}
