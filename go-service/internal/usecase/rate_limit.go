package usecase

import (
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"golang.org/x/time/rate"
)

const (
	// limitedKeys bounds the memory that buckets take.
	limitedKeys = 10_000
	// bucketIdle is how long a key's bucket is kept that nobody takes from.
	bucketIdle = time.Minute
)

// RateLimit is a bucket for each API key: so many requests at once, refilled by so many a second.
type RateLimit struct {
	limit   rate.Limit
	burst   int
	mu      sync.Mutex
	buckets *expirable.LRU[uuid.UUID, *rate.Limiter]
}

// NewRateLimit makes a limit of requests a second; 0: none.
func NewRateLimit(perSecond, burst int) *RateLimit {
	buckets := expirable.NewLRU[uuid.UUID, *rate.Limiter](limitedKeys, nil, bucketIdle)
	return &RateLimit{limit: rate.Limit(perSecond), burst: burst, buckets: buckets}
}

// allow takes from the key's bucket, if there is something in it.
func (l *RateLimit) allow(key uuid.UUID) bool {
	return l.limit == 0 || l.bucket(key).Allow()
}

func (l *RateLimit) bucket(key uuid.UUID) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.buckets.Get(key)
	if !ok {
		bucket = rate.NewLimiter(l.limit, l.burst)
	}
	l.buckets.Add(key, bucket) // its time begins anew
	return bucket
}
