package workers

import (
	"context"
	"log/slog"
	"time"

	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/usecase"
)

// Between two tries to connect: it doubles up to a second.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = time.Second
)

// Waker hears from Postgres of merchants with new events, and wakes their streams. It has one connection of its own, outside of the pools.
type Waker struct {
	DatabaseURL string
	Streams     *usecase.Streams
	Log         *slog.Logger
}

// Run wakes streams until the context ends.
func (w *Waker) Run(ctx context.Context) {
	pause := firstPause
	for {
		err := store.ListenForEvents(ctx, w.DatabaseURL, func() { pause = firstPause; w.Streams.WakeAll() }, w.Streams.Wake)
		if ctx.Err() != nil {
			return
		}
		w.Log.WarnContext(ctx, "notices of events aren't heard", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		}
	}
}
