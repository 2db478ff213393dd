package usecase

import (
	"testing"
	"testing/synctest"
	"time"

	"twinpay.dev/payments/internal/domain"
)

func TestAKeyMayBurstThenGetsItsRate(t *testing.T) {
	l, key, other := NewRateLimit(2, 3), domain.NewID(), domain.NewID() // outside: the table has a goroutine that never ends
	synctest.Test(t, func(t *testing.T) {
		allowed := func(want ...bool) {
			t.Helper()
			for i, want := range want {
				if got := l.allow(key); got != want {
					t.Errorf("request %d: got %v, want %v", i+1, got, want)
				}
			}
		}
		allowed(true, true, true, false)
		if !l.allow(other) {
			t.Error("another key has a bucket of its own")
		}
		time.Sleep(500 * time.Millisecond)
		allowed(true, false)
		time.Sleep(time.Hour)
		allowed(true, true, true, false)
	})
}

func TestAnIdleBucketIsDroppedAndTheirNumberIsBounded(t *testing.T) {
	l, first := NewRateLimit(1, 1), domain.NewID()
	for l.allow(first); l.buckets.Len() < limitedKeys; {
		l.allow(domain.NewID())
	}
	l.allow(domain.NewID())
	if l.buckets.Len() != limitedKeys || l.buckets.Contains(first) {
		t.Errorf("%d buckets", l.buckets.Len())
	}
}

func TestNoLimitIsNoBucket(t *testing.T) {
	l, key := NewRateLimit(0, 1), domain.NewID()
	for range 10 {
		if !l.allow(key) {
			t.Fatal("refused")
		}
	}
	if l.buckets.Len() != 0 {
		t.Errorf("%d buckets", l.buckets.Len())
	}
}
