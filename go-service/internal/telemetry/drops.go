package telemetry

import (
	"context"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// maxWaiting spans wait for their export at most; the same as the SDK's own limit, which is thus never met.
const maxWaiting = 2048

// drops counts the spans that are dropped, which the SDK tells nobody: what comes when its queue is full, and what can't be exported.
type drops struct{ waiting, dropped atomic.Int64 }

// batches are the SDK's over the exporter, counted here.
func (d *drops) batches(exporter sdktrace.SpanExporter) sdktrace.SpanProcessor {
	return queue{sdktrace.NewBatchSpanProcessor(counted{exporter, d}, sdktrace.WithMaxQueueSize(maxWaiting)), d}
}

type queue struct {
	sdktrace.SpanProcessor
	drops *drops
}

func (q queue) OnEnd(span sdktrace.ReadOnlySpan) {
	if q.drops.waiting.Add(1) > maxWaiting {
		q.drops.waiting.Add(-1)
		q.drops.dropped.Add(1)
		return
	}
	q.SpanProcessor.OnEnd(span)
}

type counted struct {
	sdktrace.SpanExporter
	drops *drops
}

func (c counted) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	c.drops.waiting.Add(-int64(len(spans)))
	err := c.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		c.drops.dropped.Add(int64(len(spans)))
	}
	return err
}
