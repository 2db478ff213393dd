package domain

import (
	"fmt"
	"log/slog"
	"time"
)

// redacted is all that a secret shows of itself.
const redacted = "[redacted]"

// Secret holds bytes that must not leave the process by accident: a card number or its cvc. It can't be printed, logged or marshalled; the
// bytes are only reached by Reveal, and Wipe clears them.
type Secret struct {
	bytes *[]byte // behind a pointer, since fmt's %p looks into a struct without asking Format
}

// NewSecret takes over the bytes: Wipe will clear them.
func NewSecret(bytes []byte) Secret { return Secret{&bytes} }

// Reveal returns the bytes themselves, not a copy.
func (s Secret) Reveal() []byte {
	if s.bytes == nil {
		return nil
	}
	return *s.bytes
}

// Wipe clears the bytes, as far as Go allows: copies made by the libraries below the doors are beyond its reach.
func (s Secret) Wipe() { clear(s.Reveal()) }

// String hides the bytes.
func (s Secret) String() string { return redacted }

// GoString hides the bytes from %#v.
func (s Secret) GoString() string { return redacted }

// Format hides the bytes from every verb, such as %x.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalJSON hides the bytes from encoders.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText hides the bytes from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the bytes from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Brand is a card's brand as it is written in JSON.
type Brand string

// The brands.
const (
	BrandVisa       Brand = "visa"
	BrandMastercard Brand = "mastercard"
	BrandAmex       Brand = "amex"
	BrandDiscover   Brand = "discover"
	BrandJCB        Brand = "jcb"
	BrandDiners     Brand = "diners"
	BrandUnionpay   Brand = "unionpay"
	BrandUnknown    Brand = "unknown"
)

// Card is a card whose members have the right shape: 12 to 19 digits, a month, a year, 3 or 4 digits.
type Card struct {
	Number   Secret
	ExpMonth int
	ExpYear  int
	CVC      Secret
}

// Check fails with CARD_INVALID for a wrong check digit and for a card whose month has ended in UTC.
func (c Card) Check(now time.Time) *Error {
	firstDayAfter := time.Date(c.ExpYear, time.Month(c.ExpMonth)+1, 1, 0, 0, 0, 0, time.UTC)
	if !luhn(c.Number.Reveal()) || !now.Before(firstDayAfter) {
		return NewError(ReasonCardInvalid)
	}
	return nil
}

// Summary is what may be shown of the card.
func (c Card) Summary() CardSummary {
	number := c.Number.Reveal()
	return CardSummary{Brand: brandOf(number), Last4: string(number[len(number)-4:]), ExpMonth: c.ExpMonth, ExpYear: c.ExpYear}
}

// Wipe clears number and cvc.
func (c Card) Wipe() {
	c.Number.Wipe()
	c.CVC.Wipe()
}

// CardSummary is what is stored and shown of a card.
type CardSummary struct {
	Brand    Brand
	Last4    string
	ExpMonth int
	ExpYear  int
}

// luhn is the check of ISO/IEC 7812-1 over ASCII digits.
func luhn(number []byte) bool {
	sum := 0
	for i := range number {
		digit := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			digit *= 2
			if digit > 9 {
				digit -= 9
			}
		}
		sum += digit
	}
	return sum%10 == 0
}

// brandOf tells the brand from the first digits; a number has at least twelve.
func brandOf(number []byte) Brand {
	first4 := 0
	for _, digit := range number[:4] {
		first4 = first4*10 + int(digit-'0')
	}
	first3, first2, first := first4/10, first4/100, first4/1000
	switch {
	case first == 4:
		return BrandVisa
	case first2 >= 51 && first2 <= 55, first4 >= 2221 && first4 <= 2720:
		return BrandMastercard
	case first2 == 34, first2 == 37:
		return BrandAmex
	case first4 == 6011, first3 >= 644 && first3 <= 649, first2 == 65:
		return BrandDiscover
	case first4 >= 3528 && first4 <= 3589:
		return BrandJCB
	case first3 >= 300 && first3 <= 305, first2 == 36, first2 == 38, first2 == 39:
		return BrandDiners
	case first2 == 62:
		return BrandUnionpay
	default:
		return BrandUnknown
	}
}
