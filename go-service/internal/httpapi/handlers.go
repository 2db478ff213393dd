package httpapi

import (
	"context"
	"net/http"

	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/usecase"
	"twinpay.dev/proto"
)

// request is a request that has passed all checks before its body is decoded.
type request struct {
	call   usecase.Call
	header http.Header
	body   []byte
	path   func(name string) string // an id of the path, as it was sent
	query  map[string]string        // what was given of the parameters
}

// response is what is written.
type response struct {
	status   int
	body     []byte
	replayed bool
	header   map[string]string // beside those that every response has
	reason   string            // of a problem
	watch    *usecase.Watch    // instead of a body
}

// kept is the answer of a verb that keeps its replies; a refusal is kept as a problem.
func kept(r usecase.Reply, err error) (response, error) {
	answer := response{status: r.Status, body: r.Body, replayed: r.Replayed}
	if err == nil && r.Status >= http.StatusBadRequest {
		refused, err := reply.ParseProblem(r.Body)
		if err != nil {
			return response{}, err
		}
		answer.reason = string(refused.Reason)
	}
	return answer, err
}

func (d *Door) createMerchant(ctx context.Context, r *request) (response, error) {
	body, err := decode[createMerchantBody](r.body)
	if err != nil {
		return response{}, err
	}
	return kept(d.payments.CreateMerchant(ctx, r.call, body.command()))
}

func (d *Door) createAPIKey(ctx context.Context, r *request) (response, error) {
	if _, err := decode[emptyBody](r.body); err != nil {
		return response{}, err
	}
	key, err := d.payments.CreateAPIKey(ctx, r.call, r.path("merchant_id"))
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusCreated, body: reply.APIKey(&key)}, nil
}

func (d *Door) revokeAPIKey(ctx context.Context, r *request) (response, error) {
	if _, err := decode[emptyBody](r.body); err != nil {
		return response{}, err
	}
	key, err := d.payments.RevokeAPIKey(ctx, r.call, r.path("id"))
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: reply.APIKey(&key)}, nil
}

func (d *Door) createPaymentToken(ctx context.Context, r *request) (response, error) {
	defer clear(r.body)
	body, err := decode[createPaymentTokenBody](r.body)
	command := body.command()
	defer command.Wipe()
	if err != nil {
		return response{}, err
	}
	return kept(d.payments.CreatePaymentToken(ctx, r.call, command))
}

func (d *Door) getPaymentToken(ctx context.Context, r *request) (response, error) {
	token, err := d.payments.GetPaymentToken(ctx, r.call, r.path("id"))
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: reply.PaymentToken(&token)}, nil
}

func (d *Door) createPayment(ctx context.Context, r *request) (response, error) {
	body, err := decode[createPaymentBody](r.body)
	if err != nil {
		return response{}, err
	}
	return kept(d.payments.CreatePayment(ctx, r.call, body.command()))
}

func (d *Door) capturePayment(ctx context.Context, r *request) (response, error) {
	body, err := decode[capturePaymentBody](r.body)
	if err != nil {
		return response{}, err
	}
	return kept(d.payments.CapturePayment(ctx, r.call, body.command(r.path("id"))))
}

func (d *Door) voidPayment(ctx context.Context, r *request) (response, error) {
	if _, err := decode[emptyBody](r.body); err != nil {
		return response{}, err
	}
	return kept(d.payments.VoidPayment(ctx, r.call, r.path("id")))
}

func (d *Door) getPayment(ctx context.Context, r *request) (response, error) {
	payment, err := d.payments.GetPayment(ctx, r.call, r.path("id"))
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: reply.Payment(&payment)}, nil
}

func (d *Door) createRefund(ctx context.Context, r *request) (response, error) {
	body, err := decode[createRefundBody](r.body)
	if err != nil {
		return response{}, err
	}
	return kept(d.payments.CreateRefund(ctx, r.call, body.command(r.path("id"))))
}

func (d *Door) getRefund(ctx context.Context, r *request) (response, error) {
	refund, err := d.payments.GetRefund(ctx, r.call, r.path("id"))
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: reply.Refund(&refund)}, nil
}

func (d *Door) listPayments(ctx context.Context, r *request) (response, error) {
	command := usecase.ListPayments{Page: r.page(), State: r.text("state"), PaymentToken: r.text("payment_token")}
	list, err := d.payments.ListPayments(ctx, r.call, command)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: reply.Payments(list.Data, list.Next)}, nil
}

func (d *Door) listRefunds(ctx context.Context, r *request) (response, error) {
	command := usecase.ListRefunds{Page: r.page(), Payment: r.text("payment")}
	list, err := d.payments.ListRefunds(ctx, r.call, command)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: reply.Refunds(list.Data, list.Next)}, nil
}

func (d *Door) getBalances(ctx context.Context, r *request) (response, error) {
	balances, err := d.payments.GetBalances(ctx, r.call)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: reply.Balances(balances)}, nil
}

func (d *Door) listLedgerEntries(ctx context.Context, r *request) (response, error) {
	command := usecase.ListLedgerEntries{Page: r.page(), Account: r.text("account")}
	list, err := d.payments.ListLedgerEntries(ctx, r.call, command)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: reply.LedgerEntries(list.Data, list.Next)}, nil
}

func (d *Door) listEvents(ctx context.Context, r *request) (response, error) {
	command := usecase.ListEvents{Page: r.page(), Type: r.text("type")}
	list, err := d.payments.ListEvents(ctx, r.call, command)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: reply.Events(list.Data, list.Next)}, nil
}

func (d *Door) watchEvents(ctx context.Context, r *request) (response, error) {
	command := usecase.WatchEvents{Field: "last_event_id", AfterSequence: r.lastEventID()}
	if parameter := r.integer("after_sequence"); command.AfterSequence == nil {
		command = usecase.WatchEvents{Field: "after_sequence", AfterSequence: parameter}
	}
	watch, err := d.payments.WatchEvents(ctx, r.call, command)
	return response{status: http.StatusOK, watch: watch}, err
}

func (d *Door) createWebhookEndpoint(ctx context.Context, r *request) (response, error) {
	body, err := decode[createWebhookEndpointBody](r.body)
	if err != nil {
		return response{}, err
	}
	endpoint, err := d.payments.CreateWebhookEndpoint(ctx, r.call, body.URL)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusCreated, body: reply.WebhookEndpoint(&endpoint)}, nil
}

func (d *Door) listWebhookEndpoints(ctx context.Context, r *request) (response, error) {
	page := r.page()
	list, err := d.payments.ListWebhookEndpoints(ctx, r.call, page)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: reply.WebhookEndpoints(list.Data, list.Next)}, nil
}

func (d *Door) deleteWebhookEndpoint(ctx context.Context, r *request) (response, error) {
	return response{status: http.StatusNoContent}, d.payments.DeleteWebhookEndpoint(ctx, r.call, r.path("id"))
}

// live says that the process runs, and asks nobody.
func (d *Door) live(context.Context, *request) (response, error) {
	return response{status: http.StatusOK, body: []byte(`{"status":"live"}`)}, nil
}

// openAPI says what this API is, with the same bytes as the other service.
func (d *Door) openAPI(context.Context, *request) (response, error) {
	return response{status: http.StatusOK, body: proto.OpenAPI}, nil
}
