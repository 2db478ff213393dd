package workers

import (
	"context"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/telemetry"
)

const (
	relayBatch    = 200 // events of a statement
	relayInterval = 100 * time.Millisecond
	relayLease    = 5 * time.Second // how long others wait for a leader that says nothing
	relayTimeout  = 3 * time.Second // of one step; shorter than the lease
)

// Relay publishes what the outbox holds: it gives each merchant's events their sequence, makes webhook deliveries of them and wakes the
// streams. One relay at a time leads, by a lease; the others look on.
type Relay struct {
	db        *store.DB
	now       func() time.Time
	telemetry *telemetry.Telemetry
	holder    uuid.UUID
}

// NewRelay makes a new candidate for the lead, over the workers' own connections.
func NewRelay(db *store.DB, now func() time.Time, t *telemetry.Telemetry) *Relay {
	return &Relay{db: db, now: now, telemetry: t, holder: uuid.New()}
}

// Run publishes until the context ends; then another one may lead at once.
func (r *Relay) Run(ctx context.Context) {
	working := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		published, err := r.Step(working)
		if err != nil {
			r.telemetry.Log.WarnContext(ctx, "the relay can't publish events", "error", err)
		}
		if published == relayBatch {
			continue // there may be more
		}
		select {
		case <-ctx.Done():
		case <-time.After(relayInterval):
		}
	}
	if _, err := r.publish(working, 0); err != nil {
		r.telemetry.Log.WarnContext(ctx, "the relay can't hand over its lead", "error", err)
	}
}

// Step publishes up to a batch and answers how many there were: none also where another one leads.
func (r *Relay) Step(ctx context.Context) (int64, error) {
	return r.publish(ctx, relayLease)
}

func (r *Relay) publish(ctx context.Context, lease time.Duration) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, relayTimeout)
	defer cancel()
	now := r.now().UTC()
	done, err := r.db.PublishEvents(ctx, r.holder, now, now.Add(lease), relayBatch)
	if err == nil && done.Oldest != nil {
		r.telemetry.OutboxLag.Record(ctx, r.now().Sub(*done.Oldest).Seconds())
	}
	return done.Events, err
}
