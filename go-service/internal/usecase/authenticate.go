package usecase

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"golang.org/x/sync/singleflight"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/telemetry"
)

const (
	keyPrefix       = "tp_live_"
	secretHexLength = 64
	// cachedKeys bounds the memory that keys take; cachedFor, how long a revocation takes.
	cachedKeys = 10_000
	cachedFor  = 5 * time.Second
	// lookupTimeout bounds a look-up that several requests wait for.
	lookupTimeout = 2 * time.Second
)

// Role is the kind of credential that an operation takes.
type Role int

// The roles.
const (
	RoleMerchant Role = iota
	RoleAdmin
)

// Authenticator tells who a credential belongs to, and limits how often a merchant's comes.
type Authenticator struct {
	db         *store.DB
	adminToken []byte
	cache      *expirable.LRU[uuid.UUID, store.Credential]
	lookups    singleflight.Group
	limit      *RateLimit
	telemetry  *telemetry.Telemetry
}

// NewAuthenticator makes an authenticator with an empty cache.
func NewAuthenticator(db *store.DB, adminToken string, limit *RateLimit, t *telemetry.Telemetry) *Authenticator {
	cache := expirable.NewLRU[uuid.UUID, store.Credential](cachedKeys, nil, cachedFor)
	return &Authenticator{db: db, adminToken: []byte(adminToken), cache: cache, limit: limit, telemetry: t}
}

// Authenticate checks the values of the authorization header for a role. It answers the merchant's id, or the nil id for the administrator.
func (a *Authenticator) Authenticate(ctx context.Context, role Role, values []string) (uuid.UUID, error) {
	unauthenticated := domain.NewError(domain.ReasonUnauthenticated)
	if len(values) != 1 {
		return uuid.Nil, unauthenticated
	}
	scheme, credential, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return uuid.Nil, unauthenticated
	}
	if subtle.ConstantTimeCompare([]byte(credential), a.adminToken) == 1 {
		if role != RoleAdmin {
			return uuid.Nil, domain.NewError(domain.ReasonPermissionDenied)
		}
		return uuid.Nil, nil
	}
	id, secret, ok := parseKey(credential)
	if !ok {
		return uuid.Nil, unauthenticated
	}
	known, found, err := a.find(ctx, id)
	if err != nil {
		return uuid.Nil, err
	}
	sum := sha256.Sum256([]byte(secret))
	if !found || subtle.ConstantTimeCompare(sum[:], known.SecretSHA256) != 1 {
		return uuid.Nil, unauthenticated
	}
	if role != RoleMerchant {
		return uuid.Nil, domain.NewError(domain.ReasonPermissionDenied)
	}
	if !a.limit.allow(id) {
		a.telemetry.Reject(ctx, "rate_limit")
		return uuid.Nil, domain.NewError(domain.ReasonRateLimited)
	}
	return known.MerchantID, nil
}

// parseKey splits tp_live_<key id>_<secret>; neither part holds an underscore.
func parseKey(credential string) (id uuid.UUID, secret string, ok bool) {
	rest, ok := strings.CutPrefix(credential, keyPrefix)
	if !ok {
		return uuid.Nil, "", false
	}
	suffix, secret, ok := strings.Cut(rest, "_")
	if !ok || len(secret) != secretHexLength || strings.ToLower(secret) != secret {
		return uuid.Nil, "", false
	}
	if _, err := hex.DecodeString(secret); err != nil {
		return uuid.Nil, "", false
	}
	id, ok = domain.ParseID(domain.PrefixAPIKey, domain.PrefixAPIKey+"_"+suffix)
	return id, secret, ok
}

type lookup struct {
	credential store.Credential
	found      bool
}

// find answers from the cache, or looks a key up once for all who ask at the same moment. Only keys that exist are kept: guesses don't
// push them out.
func (a *Authenticator) find(ctx context.Context, id uuid.UUID) (store.Credential, bool, error) {
	if credential, ok := a.cache.Get(id); ok {
		return credential, true, nil
	}
	// The look-up outlives whoever asked first, since others wait for it, too.
	answer := a.lookups.DoChan(string(id[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
		defer cancel()
		credential, found, err := a.db.FindAPIKey(ctx, id)
		if err == nil && found {
			a.cache.Add(id, credential)
		}
		return lookup{credential, found}, err
	})
	select {
	case <-ctx.Done():
		return store.Credential{}, false, domain.Because(domain.ReasonDeadlineExceeded, ctx.Err())
	case result := <-answer:
		if result.Err != nil {
			return store.Credential{}, false, result.Err
		}
		l := result.Val.(lookup)
		return l.credential, l.found, nil
	}
}
