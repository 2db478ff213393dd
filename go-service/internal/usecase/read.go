package usecase

import (
	"context"

	"github.com/google/uuid"

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

// GetPaymentToken reads a payment token of the merchant by its id in the path, without what it stands for; a malformed one is unknown.
func (p *Payments) GetPaymentToken(ctx context.Context, call Call, id string) (domain.PaymentToken, error) {
	check := checker{call.Violations}
	if err := check.err(); err != nil {
		return domain.PaymentToken{}, err
	}
	tokenID, _ := domain.ParseID(domain.PrefixPaymentToken, id)
	token, found, err := p.DB.GetPaymentToken(ctx, call.MerchantID, tokenID)
	if err == nil && !found {
		err = domain.NewError(domain.ReasonResourceNotFound)
	}
	return token, err
}

// ListPayments asks for a page of payments. Members are as the client sent them; nil: absent.
type ListPayments struct {
	Page         Page
	State        *string
	PaymentToken *string
}

// ListPayments reads a page of the merchant's payments.
func (p *Payments) ListPayments(ctx context.Context, call Call, c ListPayments) (List[domain.Payment], error) {
	check := checker{call.Violations}
	size := c.Page.size(&check)
	state := (*domain.PaymentState)(c.State)
	if state != nil && !state.Known() {
		check.add("state", domain.UnknownValue)
	}
	token := check.id("payment_token", domain.PrefixPaymentToken, c.PaymentToken)
	if err := check.err(); err != nil {
		return List[domain.Payment]{}, err
	}
	filter := newFilter("list_payments", call.MerchantID).text("state", c.State).text("payment_token", c.PaymentToken)
	after, err := c.Page.after(filter)
	if err != nil {
		return List[domain.Payment]{}, err
	}
	rows, err := p.DB.ListPayments(ctx, call.MerchantID, after, state, token, size+1)
	return newList(rows, size, filter, func(p *domain.Payment) uuid.UUID { return p.ID }), err
}

// ListRefunds asks for a page of refunds. Members are as the client sent them; nil: absent.
type ListRefunds struct {
	Page    Page
	Payment *string
}

// ListRefunds reads a page of the merchant's refunds.
func (p *Payments) ListRefunds(ctx context.Context, call Call, c ListRefunds) (List[domain.Refund], error) {
	check := checker{call.Violations}
	size := c.Page.size(&check)
	payment := check.id("payment", domain.PrefixPayment, c.Payment)
	if err := check.err(); err != nil {
		return List[domain.Refund]{}, err
	}
	filter := newFilter("list_refunds", call.MerchantID).text("payment", c.Payment)
	after, err := c.Page.after(filter)
	if err != nil {
		return List[domain.Refund]{}, err
	}
	rows, err := p.DB.ListRefunds(ctx, call.MerchantID, after, payment, size+1)
	return newList(rows, size, filter, func(r *domain.Refund) uuid.UUID { return r.ID }), err
}
