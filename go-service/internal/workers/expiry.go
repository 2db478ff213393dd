package workers

import (
	"context"
	"time"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/usecase"
)

const (
	expiryBatch    = 100 // payments a step
	expiryInterval = time.Second
	expiryTimeout  = 5 * time.Second // of a step's statements together
)

// Expiry ends authorisations that have lapsed. The card network isn't asked: it lets them lapse by itself.
type Expiry struct {
	Payments *usecase.Payments // over the workers' own connections
}

// Run steps until the context ends; a step that has begun is finished.
func (e *Expiry) Run(ctx context.Context) {
	ticker := time.NewTicker(expiryInterval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		expired, err := e.Step(context.WithoutCancel(ctx))
		if err != nil {
			e.Payments.Telemetry.Log.WarnContext(ctx, "lapsed authorisations can't be ended", "error", err)
		}
		if expired == expiryBatch {
			continue // there may be more
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// Step ends what has lapsed, up to a batch, and answers how many. What changed or is busy since it was read is left for later.
func (e *Expiry) Step(ctx context.Context) (int, error) {
	p := e.Payments
	ctx, cancel := context.WithTimeout(ctx, expiryTimeout)
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
