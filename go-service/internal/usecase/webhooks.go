package usecase

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strconv"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
)

// maxURL is the longest URL, in bytes.
const maxURL = 500

// WebhookSecret is what a receiver knows webhooks of an endpoint by, as Standard Webhooks says: derived, so that it needn't be stored.
type WebhookSecret [sha256.Size]byte

// NewWebhookSecret derives that of an endpoint.
func NewWebhookSecret(master [32]byte, endpoint uuid.UUID) WebhookSecret {
	return WebhookSecret(keyed(master[:], endpoint[:]))
}

// Text is how it is shown.
func (s WebhookSecret) Text() string { return "whsec_" + base64.StdEncoding.EncodeToString(s[:]) }

// Sign makes the value of webhook-signature; the timestamp is in seconds since 1970.
func (s WebhookSecret) Sign(event uuid.UUID, timestamp int64, body []byte) string {
	head := domain.AppendID(make([]byte, 0, 64), domain.PrefixEvent, event)
	head = append(strconv.AppendInt(append(head, '.'), timestamp, 10), '.')
	return "v1," + base64.StdEncoding.EncodeToString(keyed(s[:], head, body))
}

// CreateWebhookEndpoint makes an endpoint. The URL is as it was sent; nil: absent. The secret is shown this once.
func (p *Payments) CreateWebhookEndpoint(ctx context.Context, call Call, url *string) (domain.WebhookEndpoint, error) {
	check := checker{call.Violations}
	e := domain.WebhookEndpoint{ID: domain.NewID(), URL: check.text("url", url, 1, maxURL), CreatedAt: p.now()}
	if _, ok := domain.ParseTarget(e.URL, p.WebhookTargets); !ok && len(check.violations) == len(call.Violations) {
		check.add("url", domain.Malformed)
	}
	if err := check.err(); err != nil {
		return domain.WebhookEndpoint{}, err
	}
	inserted, err := p.DB.InsertWebhookEndpoint(ctx, call.MerchantID, e)
	if err == nil && !inserted {
		check.violations = append(check.violations, domain.Violation{Field: "webhook_endpoints", Reason: domain.TooMany, Max: domain.MaxEndpoints})
		err = check.err()
	}
	e.Secret = NewWebhookSecret(p.WebhookMaster, e.ID).Text()
	return e, err
}

// ListWebhookEndpoints reads a page of the merchant's endpoints.
func (p *Payments) ListWebhookEndpoints(ctx context.Context, call Call, page Page) (List[domain.WebhookEndpoint], error) {
	check := checker{call.Violations}
	size := page.size(&check)
	if err := check.err(); err != nil {
		return List[domain.WebhookEndpoint]{}, err
	}
	filter := newFilter("list_webhook_endpoints", call.MerchantID)
	after, err := page.after(filter)
	if err != nil {
		return List[domain.WebhookEndpoint]{}, err
	}
	rows, err := p.DB.ListWebhookEndpoints(ctx, call.MerchantID, after, size+1)
	return newList(rows, size, filter, func(e *domain.WebhookEndpoint) uuid.UUID { return e.ID }), err
}

// DeleteWebhookEndpoint removes an endpoint by its id in the path; a malformed one is unknown.
func (p *Payments) DeleteWebhookEndpoint(ctx context.Context, call Call, id string) error {
	check := checker{call.Violations}
	if err := check.err(); err != nil {
		return err
	}
	endpointID, _ := domain.ParseID(domain.PrefixEndpoint, id)
	deleted, err := p.DB.DeleteWebhookEndpoint(ctx, call.MerchantID, endpointID)
	if err == nil && !deleted {
		err = domain.NewError(domain.ReasonResourceNotFound)
	}
	return err
}
