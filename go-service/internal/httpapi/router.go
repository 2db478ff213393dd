package httpapi

import (
	"net/http"

	"twinpay.dev/payments/internal/usecase"
)

// routes are all that there is; an idempotency key of a route that ignores keys isn't even parsed.
func (d *Door) routes() []*route {
	return []*route{
		{http.MethodGet, "/livez", public, usecase.KeyIgnored, d.live, nil},
		{http.MethodGet, "/openapi.json", public, usecase.KeyIgnored, d.openAPI, nil},

		{http.MethodPost, "/v1/merchants", admin, usecase.KeyOptional, d.createMerchant, nil},
		{http.MethodPost, "/v1/merchants/{merchant_id}/api_keys", admin, usecase.KeyIgnored, d.createAPIKey, nil},
		{http.MethodPost, "/v1/api_keys/{id}/revoke", admin, usecase.KeyIgnored, d.revokeAPIKey, nil},

		{http.MethodPost, "/v1/payment_tokens", merchant, usecase.KeyRequired, d.createPaymentToken, nil},
		{http.MethodGet, "/v1/payment_tokens/{id}", merchant, usecase.KeyIgnored, d.getPaymentToken, nil},

		{http.MethodPost, "/v1/payments", merchant, usecase.KeyRequired, d.createPayment, nil},
		{http.MethodGet, "/v1/payments", merchant, usecase.KeyIgnored, d.listPayments, listPaymentsParameters},
		{http.MethodGet, "/v1/payments/{id}", merchant, usecase.KeyIgnored, d.getPayment, nil},
		{http.MethodPost, "/v1/payments/{id}/capture", merchant, usecase.KeyRequired, d.capturePayment, nil},
		{http.MethodPost, "/v1/payments/{id}/void", merchant, usecase.KeyRequired, d.voidPayment, nil},

		{http.MethodPost, "/v1/payments/{id}/refunds", merchant, usecase.KeyRequired, d.createRefund, nil},
		{http.MethodGet, "/v1/refunds", merchant, usecase.KeyIgnored, d.listRefunds, listRefundsParameters},
		{http.MethodGet, "/v1/refunds/{id}", merchant, usecase.KeyIgnored, d.getRefund, nil},

		{http.MethodGet, "/v1/balances", merchant, usecase.KeyIgnored, d.getBalances, nil},
		{http.MethodGet, "/v1/ledger/entries", merchant, usecase.KeyIgnored, d.listLedgerEntries, listLedgerEntriesParameters},

		{http.MethodGet, "/v1/events", merchant, usecase.KeyIgnored, d.listEvents, listEventsParameters},
		{http.MethodGet, "/v1/events/stream", merchant, usecase.KeyIgnored, d.watchEvents, watchEventsParameters},
		{http.MethodPost, "/v1/webhook_endpoints", merchant, usecase.KeyIgnored, d.createWebhookEndpoint, nil},
		{http.MethodGet, "/v1/webhook_endpoints", merchant, usecase.KeyIgnored, d.listWebhookEndpoints, listWebhookEndpointsParameters},
		{http.MethodDelete, "/v1/webhook_endpoints/{id}", merchant, usecase.KeyIgnored, d.deleteWebhookEndpoint, nil},
	}
}
