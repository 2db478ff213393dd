// Package workers holds what the service does without being asked. Each worker is a Run until shutdown, and a Step that does what is due and
// says how much, which tests call themselves. A worker waits for what comes due in Run alone, never in Step.
package workers

import (
	"context"
	"sync"

	"twinpay.dev/payments/internal/config"
	"twinpay.dev/payments/internal/receiver"
	"twinpay.dev/payments/internal/usecase"
)

// Workers are all of them.
type Workers struct {
	Recovery *Recovery
	Expiry   *Expiry
	Relay    *Relay
	Waker    *Waker
	Delivery *Delivery
	RollUp   *RollUp
	Sweep    *Sweep
}

// New makes them, over the workers' own connections.
func New(payments *usecase.Payments, streams *usecase.Streams, c config.Config) *Workers {
	return &Workers{
		Recovery: &Recovery{Payments: payments},
		Expiry:   &Expiry{payments: payments},
		Relay:    NewRelay(payments.DB, payments.Now, payments.Telemetry),
		Waker:    &Waker{DatabaseURL: c.DatabaseURL, Streams: streams, Log: payments.Telemetry.Log},
		Delivery: &Delivery{payments: payments, Receiver: receiver.New(c.WebhookTargets), retry: c.WebhookRetry},
		RollUp:   &RollUp{payments: payments},
		Sweep:    &Sweep{payments: payments, keyAge: c.KeyAge},
	}
}

// Run runs all of them until the context ends; then what was begun is finished.
func (w *Workers) Run(ctx context.Context) {
	var group sync.WaitGroup
	runs := []func(context.Context){w.Recovery.Run, w.Expiry.Run, w.Relay.Run, w.Waker.Run, w.Delivery.Run, w.RollUp.Run, w.Sweep.Run}
	for _, run := range runs {
		group.Go(func() { run(ctx) })
	}
	group.Wait()
}
