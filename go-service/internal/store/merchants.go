package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

var (
	insertMerchant = newStatement[outcomeRow]("insert_merchant", opens|writes)
	insertAPIKey   = newStatement[idRow]("insert_api_key", opens|writes)
	revokeAPIKey   = newStatement[apiKeyRow]("revoke_api_key", opens|writes)
	findAPIKey     = newStatement[findAPIKeyRow]("find_api_key", opens|unseen)
)

type idRow struct{ ID uuid.UUID }

// InsertMerchant stores the merchant and, where there is a key, the reply under it: Created, Replay, KeyReused or LookAgain.
func (d *DB) InsertMerchant(ctx context.Context, key *Key, m domain.Merchant, reply Stored) (Claim, error) {
	var scope uuid.UUID
	var text, hash any
	if key != nil {
		scope, text, hash = key.MerchantID, key.Key, key.RequestHash
	}
	var velocity *int16
	if m.VelocityLimit != nil {
		limit := int16(*m.VelocityLimit)
		velocity = &limit
	}
	row, found, err := insertMerchant.one(ctx, d, scope, text, hash, m.ID, m.Name, m.Fees.BPS, m.Fees.Fixed, m.AmountLimit, velocity,
		m.CreatedAt, int16(reply.Status), reply.Body)
	row, err = always(insertMerchant.name, row, found, err)
	return row.claim(), err
}

// InsertAPIKey reports false where there is no such merchant.
func (d *DB) InsertAPIKey(ctx context.Context, key domain.APIKey, secretSHA256 []byte) (bool, error) {
	_, found, err := insertAPIKey.one(ctx, d, key.ID, key.MerchantID, secretSHA256, key.CreatedAt)
	return found, err
}

type apiKeyRow struct {
	ID         uuid.UUID
	MerchantID uuid.UUID
	CreatedAt  time.Time
	RevokedAt  *time.Time
}

// RevokeAPIKey revokes a key once: the first time stays. It reports false where there is no such key.
func (d *DB) RevokeAPIKey(ctx context.Context, id uuid.UUID, now time.Time) (domain.APIKey, bool, error) {
	row, found, err := revokeAPIKey.one(ctx, d, id, now)
	return domain.APIKey{ID: row.ID, MerchantID: row.MerchantID, CreatedAt: row.CreatedAt, RevokedAt: orZero(row.RevokedAt)}, found, err
}

type findAPIKeyRow struct {
	MerchantID   uuid.UUID
	SecretSHA256 []byte `db:"secret_sha256"`
	RevokedAt    *time.Time
}

// Credential is what a key's secret is checked against.
type Credential struct {
	MerchantID   uuid.UUID
	SecretSHA256 []byte
}

// FindAPIKey reports false for a key that is unknown or revoked.
func (d *DB) FindAPIKey(ctx context.Context, id uuid.UUID) (Credential, bool, error) {
	row, found, err := findAPIKey.one(ctx, d, id)
	if err != nil || !found || row.RevokedAt != nil {
		return Credential{}, false, err
	}
	return Credential{row.MerchantID, row.SecretSHA256}, true, nil
}
