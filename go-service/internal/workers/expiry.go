package workers

import (
	"context"
	"time"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/usecase"
)

const (
	expiryInterval = time.Second
	expiryBatch    = 100 // payments a step
)

// Expiry ends authorisations that have lapsed. The card network isn't asked: it lets them lapse by itself.
type Expiry struct{ payments *usecase.Payments }

// Run ends what lapses until the context ends.
func (e *Expiry) Run(ctx context.Context) {
	poll(ctx, e.payments.Telemetry, "expiry", expiryInterval, e.Step)
}

// Step ends what has lapsed, up to a batch, and answers how many. What changed or is busy since it was read is left for later.
func (e *Expiry) Step(ctx context.Context) (int, error) {
	p := e.payments
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	now := p.Now().UTC().Truncate(time.Microsecond)
	lapsed, err := p.DB.FindExpiredPayments(ctx, now, expiryBatch)
	if err != nil || len(lapsed) == 0 {
		return 0, err
	}
	shown := make([][]byte, len(lapsed))
	for i := range lapsed {
		lapsed[i].Payment = domain.Expire(lapsed[i].Payment, now)
		shown[i] = reply.Payment(&lapsed[i].Payment)
	}
	return p.DB.ExpirePayments(ctx, lapsed, shown, now)
}
