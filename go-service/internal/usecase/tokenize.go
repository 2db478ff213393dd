package usecase

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/hashpool"
	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/store"
)

// CreatePaymentToken replaces a card by a token. Members are as the client sent them; nil: absent.
type CreatePaymentToken struct {
	Card *Card
}

// Card is a card as the client sent it. Whoever made it wipes it.
type Card struct {
	Number   *domain.Secret
	ExpMonth *int64
	ExpYear  *int64
	CVC      *domain.Secret
}

// Wipe clears number and cvc.
func (c CreatePaymentToken) Wipe() {
	if c.Card == nil {
		return
	}
	for _, secret := range []*domain.Secret{c.Card.Number, c.Card.CVC} {
		if secret != nil {
			secret.Wipe()
		}
	}
}

const (
	minNumberLength, maxNumberLength = 12, 19
	minCVCLength, maxCVCLength       = 3, 4
	minExpYear, maxExpYear           = 2000, 2100
	fingerprintLength                = 32
)

// CreatePaymentToken hashes the card, has the network replace it, and stores what remains. Nothing is pending in between: of two requests at
// the same moment the later one answers the earlier one's reply.
func (p *Payments) CreatePaymentToken(ctx context.Context, call Call, c CreatePaymentToken) (Reply, error) {
	card, err := c.check(call)
	if err != nil {
		return Reply{}, err
	}
	if refused := card.Check(p.now()); refused != nil {
		return Reply{}, refused
	}
	key := store.Key{MerchantID: call.MerchantID, Key: call.Key, RequestHash: p.tokenHash(card)}
	found, err := p.DB.FindReplay(ctx, key) // before the hash, so that a replay costs none
	if err != nil {
		return Reply{}, err
	}
	if found.Outcome != store.NotFound {
		return settled(found, uuid.Nil)
	}
	fingerprint, err := p.fingerprint(ctx, card, call.MerchantID)
	if err != nil {
		return Reply{}, err
	}
	networkToken, err := p.Acquirer.ProvisionToken(ctx, p.provisionID(call.MerchantID, call.Key, key.RequestHash), card)
	switch {
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		return Reply{}, domain.Because(domain.ReasonDeadlineExceeded, errors.Join(ctx.Err(), err))
	case err != nil:
		return Reply{}, domain.Because(domain.ReasonAcquirerUnavailable, err)
	}
	token := domain.PaymentToken{ID: domain.NewID(), Card: card.Summary(), CreatedAt: p.now()}
	answer := store.Stored{Status: http.StatusCreated, Body: reply.PaymentToken(&token)}
	stored, err := look(func() (store.Claim, error) {
		return p.DB.InsertPaymentToken(ctx, key, store.NewToken{Token: token, Fingerprint: fingerprint, NetworkToken: networkToken}, answer)
	})
	if err != nil {
		return Reply{}, err
	}
	if stored.Outcome != store.Created {
		return settled(stored, uuid.Nil)
	}
	return fresh(answer), nil
}

// check parses the members in the order of the contract.
func (c CreatePaymentToken) check(call Call) (domain.Card, error) {
	check := checker{call.Violations}
	if c.Card == nil {
		check.add("card", domain.Required)
		return domain.Card{}, check.err()
	}
	card := domain.Card{
		Number:   check.digits("card.number", c.Card.Number, minNumberLength, maxNumberLength),
		ExpMonth: int(check.integer("card.exp_month", c.Card.ExpMonth, 1, 12)),
		ExpYear:  int(check.integer("card.exp_year", c.Card.ExpYear, minExpYear, maxExpYear)),
		CVC:      check.digits("card.cvc", c.Card.CVC, minCVCLength, maxCVCLength),
	}
	return card, check.err()
}

// digits is for a required secret of so many ASCII digits.
func (c *checker) digits(field string, secret *domain.Secret, shortest, longest int) domain.Secret {
	if secret == nil {
		c.add(field, domain.Required)
		return domain.Secret{}
	}
	bytes := secret.Reveal()
	switch {
	case len(bytes) < shortest:
		c.violations = append(c.violations, domain.Violation{Field: field, Reason: domain.TooShort, Min: int64(shortest)})
	case len(bytes) > longest:
		c.violations = append(c.violations, domain.Violation{Field: field, Reason: domain.TooLong, Max: int64(longest)})
	default:
		for _, b := range bytes {
			if b < '0' || b > '9' {
				c.add(field, domain.Malformed)
				break
			}
		}
	}
	return *secret
}

func (p *Payments) tokenHash(card domain.Card) []byte {
	return newCanonical("create_payment_token").
		text("card.number", p.pepperedHex(card.Number.Reveal())).
		integer("card.exp_month", int64(card.ExpMonth)).
		integer("card.exp_year", int64(card.ExpYear)).
		text("card.cvc", p.pepperedHex(card.CVC.Reveal())).
		hash()
}

// fingerprint is the same for the same card of the same merchant. The job owns the keyed hash of the number, never the number: it may run
// on when the request has given up and wiped the card.
func (p *Payments) fingerprint(ctx context.Context, card domain.Card, merchantID uuid.UUID) ([]byte, error) {
	password, iterations := string(p.peppered(card.Number.Reveal())), p.HashIterations
	var failed error
	fingerprint, err := p.HashPool.Run(ctx, func() []byte {
		key, err := pbkdf2.Key(sha256.New, password, merchantID[:], iterations, fingerprintLength)
		failed = err
		return key
	})
	switch {
	case errors.Is(err, hashpool.ErrOverloaded):
		return nil, domain.Because(domain.ReasonOverloaded, err)
	case err != nil:
		return nil, domain.Because(domain.ReasonDeadlineExceeded, err)
	}
	return fingerprint, failed
}
