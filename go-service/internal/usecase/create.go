package usecase

import (
	"context"
	"maps"
	"slices"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/telemetry"
)

// CreatePayment authorises an amount or sells at once. Members are as the client sent them; nil: absent.
type CreatePayment struct {
	Amount            *int64
	Currency          *string
	PaymentToken      *string
	Capture           *string
	MerchantReference *string
	Description       *string
	Metadata          map[string]*string // a nil value: null
}

const (
	maxReferenceLength   = 64
	maxDescriptionLength = 500
	maxMetadata          = 20
	maxMetadataKey       = 40
	maxMetadataValue     = 200
)

// CreatePayment claims the payment, asks the acquirer and records what it said.
func (p *Payments) CreatePayment(ctx context.Context, call Call, c CreatePayment) (Reply, error) {
	payment, err := c.check(call)
	if err != nil {
		return Reply{}, err
	}
	key := store.Key{MerchantID: call.MerchantID, Key: call.Key, RequestHash: createHash(&payment, *c.PaymentToken)}
	now := p.now()
	payment.ID, payment.CreatedAt, payment.UpdatedAt = domain.NewID(), now, now
	kind := domain.KindSale
	if payment.Capture == domain.CaptureManual {
		kind, payment.ExpiresAt = domain.KindAuthorize, now.Add(p.AuthorizationPeriod)
	}
	o := store.Operation{
		MerchantID: call.MerchantID, ID: domain.NewID(), Command: domain.Command{Kind: kind}, Payment: payment, Traceparent: telemetry.Traceparent(ctx),
	}
	return p.operate(ctx, key, o, func(ctx context.Context, o store.Operation) (store.Claim, error) {
		return p.DB.ClaimPayment(ctx, key, o, now.Add(p.Lease))
	})
}

// check parses the members in the order of the contract.
func (c CreatePayment) check(call Call) (domain.Payment, error) {
	check := checker{call.Violations}
	payment := domain.Payment{State: domain.StateProcessing}
	payment.Amount = check.integer("amount", c.Amount, 1, domain.MaxAmount)
	switch {
	case c.Currency == nil:
		check.add("currency", domain.Required)
	case !threeCapitals(*c.Currency):
		check.add("currency", domain.Malformed)
	}
	if c.PaymentToken == nil {
		check.add("payment_token", domain.Required)
	} else if id, ok := domain.ParseID(domain.PrefixPaymentToken, *c.PaymentToken); ok {
		payment.PaymentTokenID = id
	} else {
		check.add("payment_token", domain.Malformed)
	}
	if c.Capture == nil {
		check.add("capture", domain.Required)
	} else if method := domain.CaptureMethod(*c.Capture); method == domain.CaptureAutomatic || method == domain.CaptureManual {
		payment.Capture = method
	} else {
		check.add("capture", domain.UnknownValue)
	}
	payment.MerchantReference = check.text("merchant_reference", c.MerchantReference, 1, maxReferenceLength)
	if c.Description != nil {
		check.length("description", *c.Description, 0, maxDescriptionLength)
		payment.Description = *c.Description
	}
	payment.Metadata = check.metadata(c.Metadata)
	if err := check.err(); err != nil {
		return domain.Payment{}, err
	}
	currency, ok := domain.ParseCurrency(*c.Currency)
	if !ok {
		return domain.Payment{}, domain.NewError(domain.ReasonCurrencyUnsupported)
	}
	payment.Currency = currency
	return payment, nil
}

func threeCapitals(code string) bool {
	if len(code) != 3 {
		return false
	}
	for i := range len(code) {
		if code[i] < 'A' || code[i] > 'Z' {
			return false
		}
	}
	return true
}

// metadata checks the pairs in the order of the keys' bytes. A key that breaks a rule isn't repeated in the reply.
func (c *checker) metadata(raw map[string]*string) map[string]string {
	if len(raw) == 0 {
		return nil
	}
	if len(raw) > maxMetadata {
		c.violations = append(c.violations, domain.Violation{Field: "metadata", Reason: domain.TooMany, Max: maxMetadata})
		return nil
	}
	pairs := make(map[string]string, len(raw))
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if !c.length("metadata", key, 1, maxMetadataKey) {
			continue
		}
		value := raw[key]
		if value == nil {
			c.add("metadata."+key, domain.NullValue)
			continue
		}
		c.length("metadata."+key, *value, 0, maxMetadataValue)
		pairs[key] = *value
	}
	return pairs
}

func createHash(p *domain.Payment, paymentToken string) []byte {
	c := newCanonical("create_payment").integer("amount", p.Amount).text("currency", string(p.Currency)).text("payment_token", paymentToken).
		text("capture", string(p.Capture)).text("merchant_reference", p.MerchantReference)
	if p.Description != "" {
		c = c.text("description", p.Description)
	}
	return c.metadata(p.Metadata).hash()
}
