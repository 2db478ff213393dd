package workers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"twinpay.dev/payments/internal/telemetry"
)

func TestStepsFollowEachOtherUntilNothingIsLeftAndGoOnAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began, waits := time.Now(), []time.Duration(nil)
		step := func(context.Context) (int, error) {
			waits = append(waits, time.Since(began))
			switch len(waits) {
			case 1, 2:
				return 500, nil
			case 3:
				return 0, nil
			case 4:
				return 0, errors.New("on purpose")
			}
			cancel()
			return 1, nil
		}
		poll(ctx, &telemetry.Telemetry{Log: slog.New(slog.DiscardHandler)}, "test", time.Minute, step)
		if want := []time.Duration{0, 0, 0, time.Minute, 2 * time.Minute}; !slices.Equal(waits, want) {
			t.Errorf("steps after %v, want %v", waits, want)
		}
	})
}
