package workers

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/internal/usecase"
)

const (
	recoveryBatch    = 50 // operations at once
	recoveryInterval = 100 * time.Millisecond
	leaseTimeout     = 2 * time.Second // of the lease's statement
	recoveryTimeout  = 3 * time.Second // of one operation; shorter than a lease
)

// Recovery settles the operations whose requests didn't: those that crashed, were fenced off, or never learned what the acquirer said.
type Recovery struct {
	Payments *usecase.Payments // over the workers' own connections
}

// Run settles what is due until the context ends; then what was begun is finished. An answer that hangs takes one place and delays nobody
// else: an operation that comes due meanwhile is leased all the same.
func (r *Recovery) Run(ctx context.Context) {
	working := context.WithoutCancel(ctx)
	places := make(chan struct{}, recoveryBatch)
	var group sync.WaitGroup
	defer group.Wait()
	for ctx.Err() == nil {
		room := cap(places) - len(places)
		if room == 0 {
			select {
			case <-ctx.Done():
			case places <- struct{}{}:
				<-places
			}
			continue
		}
		operations, err := r.lease(working, room)
		if err != nil {
			r.Payments.Telemetry.Log.WarnContext(ctx, "the recovery can't lease operations", "error", err)
		}
		for _, o := range operations {
			places <- struct{}{}
			group.Go(func() {
				defer func() { <-places }()
				r.settle(working, &o)
			})
		}
		if len(operations) == room {
			continue // more may be due
		}
		select {
		case <-ctx.Done():
		case <-time.After(recoveryInterval):
		}
	}
}

// Step leases the operations that are due, asks the acquirer about each again and records what it says. It answers how many it settled.
func (r *Recovery) Step(ctx context.Context) (int, error) {
	operations, err := r.lease(ctx, recoveryBatch)
	if err != nil {
		return 0, err
	}
	settled := make([]bool, len(operations))
	var group sync.WaitGroup
	for i := range operations {
		group.Go(func() { settled[i] = r.settle(ctx, &operations[i]) })
	}
	group.Wait()
	count := 0
	for _, done := range settled {
		if done {
			count++
		}
	}
	return count, nil
}

// lease takes up to limit operations that are due.
func (r *Recovery) lease(ctx context.Context, limit int) ([]store.Operation, error) {
	p := r.Payments
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	now := p.Now().UTC()
	return p.DB.LeasePendingOperations(ctx, now, now.Add(p.Lease), limit)
}

func (r *Recovery) settle(ctx context.Context, o *store.Operation) bool {
	p := r.Payments
	ctx, cancel := context.WithTimeout(ctx, recoveryTimeout)
	defer cancel()
	ctx, span := p.Telemetry.StartLinked(ctx, o.Traceparent, "recovery.settle", telemetry.Operation.String(string(o.Command.Kind)))
	defer span.End()
	_, err := p.Settle(ctx, o)
	if err == nil || errors.Is(err, usecase.ErrFenced) {
		return err == nil
	}
	telemetry.Fail(span, string(domain.ReasonOutcomeUnknown))
	p.Telemetry.Log.LogAttrs(ctx, slog.LevelWarn, "an operation stays pending",
		slog.String("operation", domain.FormatID(domain.PrefixOperation, o.ID)), slog.String("payment", domain.FormatID(domain.PrefixPayment, o.Payment.ID)),
		slog.Any("error", err))
	return false
}
