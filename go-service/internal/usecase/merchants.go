package usecase

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/store"
)

// CreateMerchant makes a merchant. Members are as the client sent them; nil: absent.
type CreateMerchant struct {
	Name          *string
	FeeBPS        *int64
	FeeFixed      *int64
	AmountLimit   *int64
	VelocityLimit *int64
}

const (
	maxNameLength    = 200
	maxFeeBPS        = 10_000
	maxVelocityLimit = 100
	defaultFeeBPS    = 290
	defaultFeeFixed  = 30
)

// CreateMerchant stores the merchant; under a key, once.
func (p *Payments) CreateMerchant(ctx context.Context, call Call, c CreateMerchant) (Reply, error) {
	merchant, err := c.check(call)
	if err != nil {
		return Reply{}, err
	}
	var key *store.Key
	if call.Key != "" {
		key = &store.Key{MerchantID: uuid.Nil, Key: call.Key, RequestHash: merchantHash(&merchant)}
	}
	merchant.ID, merchant.CreatedAt = domain.NewID(), p.now()
	answer := store.Stored{Status: http.StatusCreated, Body: reply.Merchant(&merchant)}
	claim, err := look(func() (store.Claim, error) { return p.DB.InsertMerchant(ctx, key, merchant, answer) })
	if err != nil {
		return Reply{}, err
	}
	if claim.Outcome != store.Created {
		return settled(claim, uuid.Nil)
	}
	return fresh(answer), nil
}

// check parses the members in the order of the contract.
func (c CreateMerchant) check(call Call) (domain.Merchant, error) {
	check := checker{call.Violations}
	merchant := domain.Merchant{
		Name: check.text("name", c.Name, 1, maxNameLength),
		Fees: domain.Fees{
			BPS:   int32(check.integerOr("fee_bps", c.FeeBPS, defaultFeeBPS, 0, maxFeeBPS)),
			Fixed: check.integerOr("fee_fixed", c.FeeFixed, defaultFeeFixed, 0, domain.MaxAmount),
		},
		AmountLimit: check.integerOr("amount_limit", c.AmountLimit, domain.MaxAmount, 1, domain.MaxAmount),
	}
	if c.VelocityLimit != nil {
		limit := int32(check.integerOr("velocity_limit", c.VelocityLimit, 0, 1, maxVelocityLimit))
		merchant.VelocityLimit = &limit
	}
	return merchant, check.err()
}

func merchantHash(m *domain.Merchant) []byte {
	c := newCanonical("create_merchant").text("name", m.Name).integer("fee_bps", int64(m.Fees.BPS)).integer("fee_fixed", m.Fees.Fixed).
		integer("amount_limit", m.AmountLimit)
	if m.VelocityLimit != nil {
		c = c.integer("velocity_limit", int64(*m.VelocityLimit))
	}
	return c.hash()
}

// RevokeAPIKey revokes the key with this id in the path; a malformed one is unknown. Caches aren't told: it bites when they forget the key.
func (p *Payments) RevokeAPIKey(ctx context.Context, call Call, id string) (domain.APIKey, error) {
	check := checker{call.Violations}
	if err := check.err(); err != nil {
		return domain.APIKey{}, err
	}
	keyID, _ := domain.ParseID(domain.PrefixAPIKey, id)
	key, found, err := p.DB.RevokeAPIKey(ctx, keyID, p.now())
	if err == nil && !found {
		err = domain.NewError(domain.ReasonResourceNotFound)
	}
	return key, err
}

// CreateAPIKey makes a credential for the merchant with this id in the path; a malformed one is unknown. The secret is shown this once.
func (p *Payments) CreateAPIKey(ctx context.Context, call Call, merchantID string) (domain.APIKey, error) {
	check := checker{call.Violations}
	if err := check.err(); err != nil {
		return domain.APIKey{}, err
	}
	owner, _ := domain.ParseID(domain.PrefixMerchant, merchantID)
	secret := make([]byte, secretHexLength/2)
	_, _ = rand.Read(secret) // never fails: it ends the program instead
	id, text := domain.NewID(), hex.EncodeToString(secret)
	suffix := domain.FormatID(domain.PrefixAPIKey, id)[len(domain.PrefixAPIKey)+1:]
	key := domain.APIKey{ID: id, MerchantID: owner, Secret: keyPrefix + suffix + "_" + text, CreatedAt: p.now()}
	sum := sha256.Sum256([]byte(text))
	found, err := p.DB.InsertAPIKey(ctx, key, sum[:])
	if err == nil && !found {
		err = domain.NewError(domain.ReasonResourceNotFound)
	}
	return key, err
}
