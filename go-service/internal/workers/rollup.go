package workers

import (
	"context"
	"time"

	"twinpay.dev/payments/internal/usecase"
)

const (
	rollUpInterval = time.Second
	rollUpBatch    = 500 // journals of one statement: it locks balances that others wait for
)

// RollUp folds the journals into the balances, so that a balance is read from few rows. Readers add what is not folded yet: no reader sees a
// difference.
type RollUp struct{ payments *usecase.Payments }

// Run folds until the context ends.
func (r *RollUp) Run(ctx context.Context) {
	poll(ctx, r.payments.Telemetry, "rollup", rollUpInterval, r.Step)
}

// Step folds a batch and answers how many journals it were.
func (r *RollUp) Step(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return r.payments.DB.RollUpBalances(ctx, rollUpBatch)
}
