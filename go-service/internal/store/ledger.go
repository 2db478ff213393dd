package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

var (
	getBalances       = newStatement[balanceRow]("get_balances", opens)
	listLedgerEntries = newStatement[ledgerEntryRow]("list_ledger_entries", opens)
)

type balanceRow struct {
	Account  domain.Account
	Currency domain.Currency
	Amount   int64
}

// GetBalances reads a merchant's balances by currency in alphabetical order; only currencies with entries.
func (d *DB) GetBalances(ctx context.Context, merchantID uuid.UUID) ([]domain.Balance, error) {
	rows, err := getBalances.all(ctx, d, merchantID)
	var balances []domain.Balance
	for _, row := range rows {
		if len(balances) == 0 || balances[len(balances)-1].Currency != row.Currency {
			balances = append(balances, domain.Balance{Currency: row.Currency})
		}
		*balances[len(balances)-1].Of(row.Account) = row.Amount
	}
	return balances, err
}

type ledgerEntryRow struct {
	ID          uuid.UUID
	OperationID uuid.UUID
	PaymentID   uuid.UUID
	Account     domain.Account
	Currency    domain.Currency
	Amount      int64
	CreatedAt   time.Time
}

// ListLedgerEntries reads up to limit of a merchant's ledger entries before one of them, newest first; nil: from the newest, of any account.
func (d *DB) ListLedgerEntries(ctx context.Context, merchantID uuid.UUID, before *uuid.UUID, account *domain.Account, limit int) ([]domain.LedgerEntry, error) {
	rows, err := listLedgerEntries.all(ctx, d, merchantID, before, (*string)(account), int64(limit))
	return convert(rows, func(row *ledgerEntryRow) domain.LedgerEntry {
		return domain.LedgerEntry{
			ID: row.ID, OperationID: row.OperationID, PaymentID: row.PaymentID, Currency: row.Currency,
			Entry: domain.Entry{Account: row.Account, Amount: row.Amount}, CreatedAt: row.CreatedAt,
		}
	}), err
}
