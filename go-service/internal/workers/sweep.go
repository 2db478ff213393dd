package workers

import (
	"context"
	"time"

	"twinpay.dev/payments/internal/usecase"
)

const (
	sweepInterval = time.Minute
	sweepBatch    = 500 // keys of one statement
)

// Sweep forgets idempotency keys whose time is over. One whose operation is pending stays: its client may still ask.
type Sweep struct {
	payments *usecase.Payments
	keyAge   time.Duration
}

// Run forgets until the context ends.
func (s *Sweep) Run(ctx context.Context) {
	poll(ctx, s.payments.Telemetry, "sweep", sweepInterval, s.Step)
}

// Step forgets a batch and answers how many keys it were.
func (s *Sweep) Step(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return s.payments.DB.SweepIdempotencyKeys(ctx, s.payments.Now().Add(-s.keyAge).UTC(), sweepBatch)
}
