package usecase

import (
	"context"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

// GetBalances reads all balances of the merchant.
func (p *Payments) GetBalances(ctx context.Context, call Call) ([]domain.Balance, error) {
	check := checker{call.Violations}
	if err := check.err(); err != nil {
		return nil, err
	}
	return p.DB.GetBalances(ctx, call.MerchantID)
}

// ListLedgerEntries asks for a page of ledger entries. Members are as the client sent them; nil: absent.
type ListLedgerEntries struct {
	Page    Page
	Account *string
}

// ListLedgerEntries reads a page of the merchant's ledger entries.
func (p *Payments) ListLedgerEntries(ctx context.Context, call Call, c ListLedgerEntries) (List[domain.LedgerEntry], error) {
	check := checker{call.Violations}
	size := c.Page.size(&check)
	account := (*domain.Account)(c.Account)
	if account != nil && !account.Known() {
		check.add("account", domain.UnknownValue)
	}
	if err := check.err(); err != nil {
		return List[domain.LedgerEntry]{}, err
	}
	filter := newFilter("list_ledger_entries", call.MerchantID).text("account", c.Account)
	after, err := c.Page.after(filter)
	if err != nil {
		return List[domain.LedgerEntry]{}, err
	}
	rows, err := p.DB.ListLedgerEntries(ctx, call.MerchantID, after, account, size+1)
	return newList(rows, size, filter, func(e *domain.LedgerEntry) uuid.UUID { return e.ID }), err
}
