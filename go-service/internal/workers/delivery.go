package workers

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/receiver"
	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/store"
	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/internal/usecase"
)

const (
	deliveryPlaces = 20 // deliveries at once
	// placesOfOne is how many an endpoint may have under way before it gets no more; nor does a lease take more, so that a slow receiver can't
	// take all places.
	placesOfOne      = 5
	deliveryInterval = 100 * time.Millisecond
	deliveryLease    = 15 * time.Second // an attempt, its record, and some
)

// Delivery sends webhooks: it leases deliveries that are due, posts each to its endpoint, and records what came of it. At least once: what was
// sent and not recorded is sent again, under the same id.
type Delivery struct {
	Receiver *receiver.Client
	payments *usecase.Payments
	retry    time.Duration // the longest wait before a second attempt
}

// Run delivers what is due until the context ends; then what was begun is finished.
func (d *Delivery) Run(ctx context.Context) {
	working := context.WithoutCancel(ctx)
	ended := make(chan uuid.UUID, deliveryPlaces) // never full
	underWay := map[uuid.UUID]int{}
	running := 0
	end := func(endpoint uuid.UUID) {
		running--
		if underWay[endpoint]--; underWay[endpoint] == 0 {
			delete(underWay, endpoint)
		}
	}
	var group sync.WaitGroup
	defer group.Wait()
	for ctx.Err() == nil {
		for len(ended) > 0 {
			end(<-ended)
		}
		room := min(placesOfOne, deliveryPlaces-running)
		if room == 0 {
			select {
			case <-ctx.Done():
			case endpoint := <-ended:
				end(endpoint)
			}
			continue
		}
		leased, err := d.lease(working, room, busy(underWay))
		if err != nil {
			d.payments.Telemetry.Log.WarnContext(ctx, "the webhook worker can't lease deliveries", "error", err)
		}
		for _, l := range leased {
			running++
			underWay[l.EndpointID]++
			group.Go(func() {
				defer func() { ended <- l.EndpointID }()
				d.deliver(working, &l)
			})
		}
		if len(leased) == room {
			continue // more may be due
		}
		select {
		case <-ctx.Done():
		case <-time.After(deliveryInterval):
		}
	}
}

// busy are the endpoints that have as many under way as one may have.
func busy(underWay map[uuid.UUID]int) []uuid.UUID {
	endpoints := []uuid.UUID{} // no null
	for endpoint, count := range underWay {
		if count >= placesOfOne {
			endpoints = append(endpoints, endpoint)
		}
	}
	return endpoints
}

// Step delivers up to a batch of what is due at once, and answers how many were.
func (d *Delivery) Step(ctx context.Context) (int, error) {
	leased, err := d.lease(ctx, deliveryPlaces, []uuid.UUID{})
	var group sync.WaitGroup
	for i := range leased {
		group.Go(func() { d.deliver(ctx, &leased[i]) })
	}
	group.Wait()
	return len(leased), err
}

func (d *Delivery) lease(ctx context.Context, limit int, busy []uuid.UUID) ([]store.LeasedDelivery, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	now := d.payments.Now().UTC()
	return d.payments.DB.LeaseDeliveries(ctx, now, now.Add(deliveryLease), limit, busy)
}

func (d *Delivery) deliver(ctx context.Context, l *store.LeasedDelivery) {
	p := d.payments
	began := time.Now()
	attempt := domain.Attempt{Fault: domain.FaultDisabled}
	if !l.Disabled {
		attempt = d.attempt(ctx, l)
	}
	outcome, wait := attempt.Outcome(l.Attempts+1, d.retry)
	p.Telemetry.WebhookAttempts.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", string(outcome))))
	now := p.Now().UTC()
	t := store.Tried{Next: now, Attempt: attempt, Took: time.Since(began), Now: now, Disable: outcome == domain.WebhookDisabled}
	switch outcome {
	case domain.WebhookSucceeded:
		t.State = "succeeded"
	case domain.WebhookFailed, domain.WebhookDisabled:
		t.State = "failed"
	case domain.WebhookRetried:
		// Full jitter: what failed together isn't tried together.
		t.State, t.Next = "pending", now.Add(time.Duration(rand.Float64()*float64(wait)))
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if _, err := p.DB.RecordDelivery(ctx, l, t); err != nil {
		// It is delivered again when the lease ends.
		p.Telemetry.Log.LogAttrs(ctx, slog.LevelWarn, "an attempt to deliver a webhook isn't recorded",
			slog.String("endpoint", domain.FormatID(domain.PrefixEndpoint, l.EndpointID)), slog.String("event", domain.FormatID(domain.PrefixEvent, l.Event.ID)),
			slog.Any("error", err))
	}
}

// attempt is one POST in a trace of its own, linked to that of the event.
func (d *Delivery) attempt(ctx context.Context, l *store.LeasedDelivery) domain.Attempt {
	p := d.payments
	// It was checked when it came in; the targets may have been narrowed since, which the dial sees.
	target, ok := domain.ParseTarget(l.URL, domain.TargetsAny)
	if !ok {
		return domain.Attempt{Fault: domain.FaultConnect}
	}
	ctx, span := p.Telemetry.StartWebhook(ctx, l.Traceparent, target, l.Attempts+1)
	defer span.End()
	body := reply.Event(&l.Event)
	timestamp := p.Now().Unix()
	secret := usecase.NewWebhookSecret(p.WebhookMaster, l.EndpointID)
	attempt := d.Receiver.Post(ctx, l.URL, target, http.Header{
		"Webhook-Id":        {domain.FormatID(domain.PrefixEvent, l.Event.ID)},
		"Webhook-Timestamp": {strconv.FormatInt(timestamp, 10)},
		"Webhook-Signature": {secret.Sign(l.Event.ID, timestamp, body)},
	}, body)
	if attempt.Status != 0 {
		span.SetAttributes(telemetry.HTTPStatus.Int(attempt.Status))
	}
	if attempt.Fault != "" {
		telemetry.Fail(span, string(attempt.Fault))
	}
	return attempt
}
