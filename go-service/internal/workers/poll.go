package workers

import (
	"context"
	"time"

	"twinpay.dev/payments/internal/telemetry"
)

// statementTimeout bounds a step's statements.
const statementTimeout = 2 * time.Second

// poll calls step until the context ends, and pauses after one that did nothing or failed. A step says how much it did; one that has begun ends.
func poll(ctx context.Context, t *telemetry.Telemetry, worker string, pause time.Duration, step func(context.Context) (int, error)) {
	for ctx.Err() == nil {
		did, err := step(context.WithoutCancel(ctx))
		if err != nil {
			t.Log.WarnContext(ctx, "a worker's step failed", "worker", worker, "error", err)
		}
		if did > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
