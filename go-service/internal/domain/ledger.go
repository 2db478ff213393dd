package domain

// Account is one of the three accounts that each merchant has.
type Account string

// The accounts.
const (
	AcquirerReceivable Account = "acquirer_receivable"
	MerchantPayable    Account = "merchant_payable"
	FeeIncome          Account = "fee_income"
)

// Entry is one line of a journal: a signed amount of minor units.
type Entry struct {
	Account Account
	Amount  int64
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
