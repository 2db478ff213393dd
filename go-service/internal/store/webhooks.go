package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

var (
	insertWebhookEndpoint = newStatement[idRow]("insert_webhook_endpoint", opens|writes)
	listWebhookEndpoints  = newStatement[endpointRow]("list_webhook_endpoints", opens)
	deleteWebhookEndpoint = newStatement[idRow]("delete_webhook_endpoint", opens|writes)
	leaseDeliveries       = newStatement[leasedDeliveryRow]("lease_deliveries", unseen|writes)
	recordDelivery        = newStatement[deliveryRow]("record_delivery", unseen|writes)
)

// InsertWebhookEndpoint reports false where the merchant has enough of them.
func (d *DB) InsertWebhookEndpoint(ctx context.Context, merchantID uuid.UUID, e domain.WebhookEndpoint) (bool, error) {
	_, found, err := insertWebhookEndpoint.one(ctx, d, merchantID, e.ID, e.URL, e.CreatedAt, domain.MaxEndpoints)
	return found, err
}

type endpointRow struct {
	ID         uuid.UUID
	URL        string
	CreatedAt  time.Time
	DisabledAt *time.Time
}

// ListWebhookEndpoints reads up to limit of a merchant's endpoints before one of them, newest first; nil: from the newest.
func (d *DB) ListWebhookEndpoints(ctx context.Context, merchantID uuid.UUID, before *uuid.UUID, limit int) ([]domain.WebhookEndpoint, error) {
	rows, err := listWebhookEndpoints.all(ctx, d, merchantID, before, int64(limit))
	return convert(rows, func(row *endpointRow) domain.WebhookEndpoint {
		return domain.WebhookEndpoint{ID: row.ID, URL: row.URL, CreatedAt: row.CreatedAt, DisabledAt: orZero(row.DisabledAt)}
	}), err
}

// DeleteWebhookEndpoint reports false where the merchant has no such endpoint.
func (d *DB) DeleteWebhookEndpoint(ctx context.Context, merchantID, id uuid.UUID) (bool, error) {
	_, found, err := deleteWebhookEndpoint.one(ctx, d, merchantID, id)
	return found, err
}

// LeasedDelivery is a delivery that is ours for a while, with its event.
type LeasedDelivery struct {
	EndpointID uuid.UUID
	DeliveryID uuid.UUID
	Attempts   int16 // made so far
	LeaseToken int64
	URL        string
	Disabled   bool // the receiver said that it is gone
	Event      domain.Event
	// Traceparent is that of the request that the event comes from; empty: none.
	Traceparent string
}

type leasedDeliveryRow struct {
	MerchantID  uuid.UUID
	EndpointID  uuid.UUID
	DeliveryID  uuid.UUID
	Attempts    int16
	LeaseToken  int64
	URL         string
	DisabledAt  *time.Time
	EventID     uuid.UUID
	Sequence    int64
	Type        string
	Data        []byte
	Traceparent *string
	CreatedAt   time.Time
}

// LeaseDeliveries takes up to limit deliveries that are due, none to a busy endpoint.
func (d *DB) LeaseDeliveries(ctx context.Context, now, leasedUntil time.Time, limit int, busy []uuid.UUID) ([]LeasedDelivery, error) {
	rows, err := leaseDeliveries.all(ctx, d, now, leasedUntil, int64(limit), busy)
	leased := make([]LeasedDelivery, len(rows))
	for i, row := range rows {
		leased[i] = LeasedDelivery{
			EndpointID: row.EndpointID, DeliveryID: row.DeliveryID, Attempts: row.Attempts, LeaseToken: row.LeaseToken, URL: row.URL,
			Disabled: row.DisabledAt != nil, Traceparent: orZero(row.Traceparent),
			Event: domain.Event{ID: row.EventID, Type: row.Type, Sequence: row.Sequence, CreatedAt: row.CreatedAt, Object: row.Data},
		}
	}
	return leased, err
}

// Tried is what is recorded of an attempt.
type Tried struct {
	State   string    // pending, succeeded or failed
	Next    time.Time // when it is due again
	Attempt domain.Attempt
	Took    time.Duration
	Now     time.Time // when it ended
	Disable bool      // the endpoint gets nothing any more
}

type deliveryRow struct{ Attempts int16 }

// RecordDelivery reports false where the lease isn't ours any more.
func (d *DB) RecordDelivery(ctx context.Context, leased *LeasedDelivery, t Tried) (bool, error) {
	var status *int16
	if t.Attempt.Status != 0 {
		answered := int16(t.Attempt.Status)
		status = &answered
	}
	_, found, err := recordDelivery.one(ctx, d, leased.EndpointID, leased.DeliveryID, leased.LeaseToken, t.State, t.Next, status,
		nullText(t.Attempt.Fault), int32(t.Took.Milliseconds()), t.Now, t.Disable)
	return found, err
}
