package httpapi

import (
	"net/http"

	"twinpay.dev/payments/internal/usecase"
)

// routes are all that there is; an idempotency key of a route that ignores keys isn't even parsed.
func (d *Door) routes() []*route {
	return []*route{
		{http.MethodGet, "/livez", public, usecase.KeyIgnored, d.live},
		{http.MethodGet, "/openapi.json", public, usecase.KeyIgnored, d.openAPI},

		{http.MethodPost, "/v1/merchants", admin, usecase.KeyOptional, d.createMerchant},
		{http.MethodPost, "/v1/merchants/{merchant_id}/api_keys", admin, usecase.KeyIgnored, d.createAPIKey},

		{http.MethodPost, "/v1/payment_tokens", merchant, usecase.KeyRequired, d.createPaymentToken},

		{http.MethodPost, "/v1/payments", merchant, usecase.KeyRequired, d.createPayment},
		{http.MethodGet, "/v1/payments/{id}", merchant, usecase.KeyIgnored, d.getPayment},
		{http.MethodPost, "/v1/payments/{id}/capture", merchant, usecase.KeyRequired, d.capturePayment},
		{http.MethodPost, "/v1/payments/{id}/void", merchant, usecase.KeyRequired, d.voidPayment},

		{http.MethodPost, "/v1/payments/{id}/refunds", merchant, usecase.KeyRequired, d.createRefund},
		{http.MethodGet, "/v1/refunds/{id}", merchant, usecase.KeyIgnored, d.getRefund},
	}
}
