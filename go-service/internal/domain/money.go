package domain

// MaxAmount is the largest amount, limit and fixed fee, in minor units.
const MaxAmount int64 = 999_999_999_999

// Currency is an ISO 4217 code of those that Twinpay takes.
type Currency string

// The currencies.
const (
	USD Currency = "USD"
	EUR Currency = "EUR"
	GBP Currency = "GBP"
	JPY Currency = "JPY"
)

// ParseCurrency reports false for a code that isn't supported.
func ParseCurrency(code string) (Currency, bool) {
	switch c := Currency(code); c {
	case USD, EUR, GBP, JPY:
		return c, true
	}
	return "", false
}

// ValidAmount says whether an amount of minor units can be paid.
func ValidAmount(amount int64) bool { return amount >= 1 && amount <= MaxAmount }

// Fees are what a merchant pays on a capture.
type Fees struct {
	BPS   int32 // hundredths of a percent, up to 10 000
	Fixed int64 // minor units, up to MaxAmount
}

// On is the fee on a captured amount, rounded half up and at most the amount. The bounds of its parts exclude an overflow: the largest
// product is 10^16.
func (f Fees) On(amount int64) int64 {
	return min((amount*int64(f.BPS)+5000)/10_000+f.Fixed, amount)
}
