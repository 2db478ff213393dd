package hashpool

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"twinpay.dev/payments/internal/telemetry"
)

func pool(t *testing.T, permits, queue int64, wait time.Duration) *Pool {
	t.Helper()
	quiet, err := telemetry.New(t.Context(), "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return New(permits, queue, wait, quiet)
}

func TestImpatientClientsNeverGetMoreHashesThanPermits(t *testing.T) {
	const permits = 2
	p := pool(t, permits, 1000, time.Minute)
	var running, most atomic.Int64
	var clients, jobs sync.WaitGroup
	for range 200 {
		clients.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			jobs.Add(1)
			_, _ = p.Run(ctx, func() []byte {
				defer jobs.Done()
				for n := running.Add(1); ; {
					if seen := most.Load(); n <= seen || most.CompareAndSwap(seen, n) {
						break
					}
				}
				cancel() // the client gives up as soon as its hash runs, and Run returns
				for range 1000 {
					runtime.Gosched()
				}
				running.Add(-1)
				return nil
			})
			cancel()
		})
	}
	clients.Wait()
	jobs.Wait()
	if most.Load() > permits {
		t.Errorf("%d hashes ran at once, with %d permits", most.Load(), permits)
	}
}

func TestAFullQueueAndALongWaitAreOverload(t *testing.T) {
	for name, p := range map[string]*Pool{"no queue": pool(t, 1, 0, time.Minute), "no wait": pool(t, 1, 10, 0)} {
		started, release := make(chan struct{}), make(chan struct{})
		done := make(chan error, 1)
		go func() {
			_, err := p.Run(t.Context(), func() []byte { close(started); <-release; return nil })
			done <- err
		}()
		<-started
		if _, err := p.Run(t.Context(), func() []byte { return nil }); !errors.Is(err, ErrOverloaded) {
			t.Errorf("%s: got %v", name, err)
		}
		close(release)
		if err := <-done; err != nil {
			t.Errorf("%s: the first job: %v", name, err)
		}
		if made, err := p.Run(t.Context(), func() []byte { return []byte("x") }); err != nil || string(made) != "x" {
			t.Errorf("%s: afterwards: %q, %v", name, made, err)
		}
	}
}

func TestWhoHasAResultFindsThePermitFree(t *testing.T) {
	p := pool(t, 1, 0, time.Minute)
	for round := range 50_000 {
		if _, err := p.Run(t.Context(), func() []byte { return nil }); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

func TestThoseWhoAreRefusedTakeNoPlaceInTheQueue(t *testing.T) {
	const queue = 1
	p := pool(t, 1, queue, time.Minute)
	started, release := make(chan struct{}), make(chan struct{})
	var held, refused sync.WaitGroup
	held.Go(func() { _, _ = p.Run(t.Context(), func() []byte { close(started); <-release; return nil }) })
	<-started
	held.Go(func() { _, _ = p.Run(t.Context(), func() []byte { return nil }) })
	for p.queued.Load() < queue {
		runtime.Gosched()
	}
	var overfull atomic.Bool
	for range 4 {
		refused.Go(func() {
			for range 10_000 {
				if err := p.acquire(t.Context()); !errors.Is(err, ErrOverloaded) {
					t.Errorf("got %v", err)
				}
				if p.queued.Load() > queue {
					overfull.Store(true)
				}
			}
		})
	}
	refused.Wait()
	close(release)
	held.Wait()
	if overfull.Load() {
		t.Errorf("there were more than %d in the queue", queue)
	}
}

func TestAJobWhoseDeadlineHasPassedDoesntRun(t *testing.T) {
	p := pool(t, 1, 1, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Run(ctx, func() []byte { t.Error("it ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := p.permits.Acquire(t.Context(), 1); err != nil { // the job has given its permit back, and is over
		t.Error(err)
	}
}
