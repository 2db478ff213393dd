// Package hashpool bounds the CPU work of card hashes: so many at once, so many waiting, for so long. It knows nothing of cards; work that
// waits on the network must never run in it.
package hashpool

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"twinpay.dev/payments/internal/telemetry"
)

// ErrOverloaded is said to those who found the queue full or waited too long.
var ErrOverloaded = errors.New("the hash pool is full")

// Pool runs jobs.
type Pool struct {
	permits   *semaphore.Weighted
	wait      time.Duration
	maxQueue  int64
	queued    atomic.Int64
	telemetry *telemetry.Telemetry
}

// New makes a pool that runs as many jobs at once as there are permits, while up to queue others wait no longer than wait.
func New(permits, queue int64, wait time.Duration, t *telemetry.Telemetry) *Pool {
	return &Pool{permits: semaphore.NewWeighted(permits), maxQueue: queue, wait: wait, telemetry: t}
}

// Run runs a job and returns what it made. It fails with ErrOverloaded, or with the context's error, in which case the job may still be
// running: it must own all that it touches.
func (p *Pool) Run(ctx context.Context, job func() []byte) ([]byte, error) {
	asked := time.Now()
	if err := p.acquire(ctx); err != nil {
		return nil, err
	}
	waited := time.Since(asked)
	p.telemetry.HashWait.Record(ctx, waited.Seconds())
	ctx, span := p.telemetry.Start(ctx, "hash_pool.run", trace.WithAttributes(telemetry.Wait.Float64(telemetry.Milliseconds(waited))))
	defer span.End()

	// The permit belongs to the goroutine that does the work, and is freed by it alone: a client that gives up doesn't make room for
	// another hash while its own runs on. It is free before the result is handed on, so that who has the result can run the next job.
	made := make(chan []byte, 1)
	go func() {
		if ctx.Err() != nil {
			p.permits.Release(1)
			return
		}
		began := time.Now()
		result := job()
		p.telemetry.HashRun.Record(ctx, time.Since(began).Seconds())
		p.permits.Release(1)
		made <- result
	}()
	select {
	case result := <-made:
		return result, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) { // else the client has gone
			telemetry.Fail(span, "DEADLINE_EXCEEDED")
		}
		return nil, ctx.Err()
	}
}

func (p *Pool) acquire(ctx context.Context) error {
	if p.permits.TryAcquire(1) {
		return nil
	}
	for {
		queued := p.queued.Load()
		if queued >= p.maxQueue {
			p.telemetry.Reject(ctx, "hash_queue")
			return ErrOverloaded
		}
		if p.queued.CompareAndSwap(queued, queued+1) { // those who are refused never take a place, not even for a moment
			break
		}
	}
	defer p.queued.Add(-1)
	p.telemetry.HashQueue.Add(ctx, 1)
	defer p.telemetry.HashQueue.Add(ctx, -1)
	waiting, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	err := p.permits.Acquire(waiting, 1)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	p.telemetry.Reject(ctx, "hash_wait")
	return ErrOverloaded
}
