package usecase

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/store"
)

// KeyHeader is the HTTP header of the idempotency key; gRPC metadata has the same name in lower case.
const KeyHeader = "Idempotency-Key"

// KeyRule says what an operation does with an idempotency key.
type KeyRule int

// The rules.
const (
	KeyIgnored KeyRule = iota
	KeyOptional
	KeyRequired
)

const maxKeyLength = 255

// ParseKey reads the header's values. An empty one is invalid.
func ParseKey(rule KeyRule, values []string) (string, error) {
	switch {
	case rule == KeyIgnored:
		return "", nil
	case len(values) == 0 && rule == KeyRequired:
		return "", domain.NewError(domain.ReasonIdempotencyKeyMissing)
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", domain.NewError(domain.ReasonIdempotencyKeyInvalid)
	}
	key, ok := values[0], true
	if strings.HasPrefix(key, `"`) {
		key, ok = unquote(key)
	}
	if !ok || len(key) < 1 || len(key) > maxKeyLength {
		return "", domain.NewError(domain.ReasonIdempotencyKeyInvalid)
	}
	for i := range len(key) {
		if key[i] < 0x21 || key[i] > 0x7e {
			return "", domain.NewError(domain.ReasonIdempotencyKeyInvalid)
		}
	}
	return key, nil
}

// unquote reads a structured-field string (RFC 9651): a quote or a backslash is escaped, nothing else is.
func unquote(quoted string) (string, bool) {
	var key strings.Builder
	for i := 1; i < len(quoted); i++ {
		switch quoted[i] {
		case '"':
			return key.String(), i == len(quoted)-1
		case '\\':
			i++
			if i == len(quoted) || quoted[i] != '"' && quoted[i] != '\\' {
				return "", false
			}
		}
		key.WriteByte(quoted[i])
	}
	return "", false
}

// maxLooks bounds how often a statement is run again because its snapshot couldn't see who took the key or the payment. A key is seen at the
// second look; a payment in demand can be lost at every one.
const maxLooks = 3

func look(statement func() (store.Claim, error)) (claim store.Claim, err error) {
	for range maxLooks {
		if claim, err = statement(); err != nil || claim.Outcome != store.LookAgain {
			break
		}
	}
	return claim, err
}

// settled is the answer to a request whose key or object says it all: nothing was written. from are the states that would have been right.
func settled(claim store.Claim, paymentID uuid.UUID, from ...domain.PaymentState) (Reply, error) {
	switch claim.Outcome {
	case store.Replay:
		return Reply{Status: claim.Reply.Status, Body: claim.Reply.Body, Replayed: true}, nil
	case store.KeyReused:
		return Reply{}, domain.NewError(domain.ReasonIdempotencyKeyReused)
	case store.InProgress:
		return Reply{}, domain.NewError(domain.ReasonIdempotencyInProgress)
	case store.NotFound:
		return Reply{}, domain.NewError(domain.ReasonResourceNotFound)
	case store.Busy:
		return Reply{}, domain.About(domain.ReasonPaymentBusy, paymentID, nil)
	case store.StateInvalid:
		return Reply{}, domain.StateInvalid(paymentID, claim.State, from...)
	case store.LookAgain:
		// Only others' requests with the same key can do this, and one of them is under way.
		return Reply{}, domain.NewError(domain.ReasonIdempotencyInProgress)
	default: // store.Claimed, store.Created: the callers go on with these
		return Reply{}, fmt.Errorf("outcome %q isn't one that ends a request", claim.Outcome)
	}
}
