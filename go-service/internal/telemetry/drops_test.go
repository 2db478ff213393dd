package telemetry

import (
	"context"
	"errors"
	"sync"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// collector fails unless it works, and waits for whoever holds the lock.
type collector struct {
	sync.Mutex
	works bool
}

func (c *collector) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	c.Lock()
	defer c.Unlock()
	if c.works {
		return nil
	}
	return errors.New("on purpose")
}

func (c *collector) Shutdown(context.Context) error { return nil }

func TestWhatFindsNoPlaceOrNoCollectorIsCounted(t *testing.T) {
	d, to := &drops{}, &collector{works: true}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(d.batches(to)))
	tracer := provider.Tracer("test")
	end := func(spans int) {
		for range spans {
			_, span := tracer.Start(t.Context(), "a span")
			span.End()
		}
	}
	end(3)
	if err := provider.ForceFlush(t.Context()); err != nil || d.dropped.Load() != 0 {
		t.Fatalf("flush: %v; dropped %d", err, d.dropped.Load())
	}

	to.Lock()
	// At most one batch of 512 is with the collector, and left its places.
	end(maxWaiting + 512 + 7)
	if full := d.dropped.Load(); full < 7 {
		t.Errorf("dropped %d, want at least 7", full)
	}
	to.works = false
	to.Unlock()
	_ = provider.ForceFlush(t.Context())
	if got := d.dropped.Load(); got != maxWaiting+512+7 {
		t.Errorf("dropped %d, want all of %d", got, maxWaiting+512+7)
	}
}
