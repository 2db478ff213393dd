package domain

import (
	"time"

	"github.com/google/uuid"
)

// Account is one of the three accounts that each merchant has.
type Account string

// The accounts.
const (
	AcquirerReceivable Account = "acquirer_receivable"
	MerchantPayable    Account = "merchant_payable"
	FeeIncome          Account = "fee_income"
)

// Known reports whether there is such an account.
func (a Account) Known() bool {
	switch a {
	case AcquirerReceivable, MerchantPayable, FeeIncome:
		return true
	}
	return false
}

// Entry is one line of a journal: a signed amount of minor units.
type Entry struct {
	Account Account
	Amount  int64
}

// LedgerEntry is an entry as it was written.
type LedgerEntry struct {
	ID          uuid.UUID
	OperationID uuid.UUID // the journal
	PaymentID   uuid.UUID
	Currency    Currency
	Entry
	CreatedAt time.Time
}

// Balance is the fold of a merchant's entries of one currency, signed. The three sum to zero.
type Balance struct {
	Currency           Currency
	AcquirerReceivable int64 // what the card network owes
	MerchantPayable    int64 // what the merchant is owed: negative
	FeeIncome          int64 // what was earned: negative
}

// Of is the place of an account.
func (b *Balance) Of(account Account) *int64 {
	switch account {
	case AcquirerReceivable:
		return &b.AcquirerReceivable
	case MerchantPayable:
		return &b.MerchantPayable
	case FeeIncome:
		return &b.FeeIncome
	}
	panic("no such account: " + account) // a constraint excludes others
}

// captureJournal is what a captured amount does to the accounts. It sums to zero; entries of zero aren't written.
func captureJournal(amount int64, fees Fees) []Entry {
	fee := fees.On(amount)
	journal := make([]Entry, 0, 3)
	for _, e := range [...]Entry{{AcquirerReceivable, amount}, {MerchantPayable, fee - amount}, {FeeIncome, -fee}} {
		if e.Amount != 0 {
			journal = append(journal, e)
		}
	}
	return journal
}

// refundJournal is what a refunded amount does to the accounts: the merchant gives it back, the fee is kept.
func refundJournal(amount int64) []Entry {
	return []Entry{{AcquirerReceivable, -amount}, {MerchantPayable, amount}}
}
