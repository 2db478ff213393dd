package grpcapi

import (
	"context"
	"net/http"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"twinpay.dev/payments/internal/domain"
	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
	"twinpay.dev/payments/internal/reply"
	"twinpay.dev/payments/internal/usecase"
)

// kept decodes the answer of a verb that keeps its replies. A refusal names the payment of the request where it holds none itself.
func kept[T any](ctx context.Context, r usecase.Reply, err error, paymentID uuid.UUID, parse func([]byte) (T, error)) (decoded T, _ error) {
	if err != nil {
		return decoded, err
	}
	if r.Replayed {
		_ = grpc.SetHeader(ctx, metadata.Pairs(replayedKey, "true")) // fails on a stream that has ended
	}
	if r.Status < http.StatusBadRequest {
		return parse(r.Body)
	}
	refused, err := reply.ParseProblem(r.Body)
	if err != nil {
		return decoded, err
	}
	if refused.Payment == nil {
		refused.PaymentID = paymentID
	}
	return decoded, refused
}

// CreateMerchant implements AdminService.
func (d *Door) CreateMerchant(ctx context.Context, r *paymentsv1.CreateMerchantRequest) (*paymentsv1.Merchant, error) {
	answer, err := d.payments.CreateMerchant(ctx, callOf(ctx), usecase.CreateMerchant{
		Name: r.Name, FeeBPS: wide(r.FeeBps), FeeFixed: r.FeeFixed, AmountLimit: r.AmountLimit, VelocityLimit: wide(r.VelocityLimit),
	})
	merchant, err := kept(ctx, answer, err, uuid.Nil, reply.ParseMerchant)
	if err != nil {
		return nil, err
	}
	return merchantMessage(&merchant), nil
}

// CreateApiKey implements AdminService.
func (d *Door) CreateApiKey(ctx context.Context, r *paymentsv1.CreateApiKeyRequest) (*paymentsv1.ApiKey, error) {
	key, err := d.payments.CreateAPIKey(ctx, callOf(ctx), r.GetMerchantId())
	if err != nil {
		return nil, err
	}
	return apiKeyMessage(&key), nil
}

// RevokeApiKey implements AdminService.
func (d *Door) RevokeApiKey(ctx context.Context, r *paymentsv1.RevokeApiKeyRequest) (*paymentsv1.ApiKey, error) {
	key, err := d.payments.RevokeAPIKey(ctx, callOf(ctx), r.GetId())
	if err != nil {
		return nil, err
	}
	return apiKeyMessage(&key), nil
}

// GetPaymentToken implements VaultService.
func (d *Door) GetPaymentToken(ctx context.Context, r *paymentsv1.GetPaymentTokenRequest) (*paymentsv1.PaymentToken, error) {
	token, err := d.payments.GetPaymentToken(ctx, callOf(ctx), r.GetId())
	if err != nil {
		return nil, err
	}
	return tokenMessage(&token), nil
}

// CreatePaymentToken implements VaultService.
func (d *Door) CreatePaymentToken(ctx context.Context, r *paymentsv1.CreatePaymentTokenRequest) (*paymentsv1.PaymentToken, error) {
	command := tokenCommand(r)
	defer command.Wipe()
	answer, err := d.payments.CreatePaymentToken(ctx, callOf(ctx), command)
	token, err := kept(ctx, answer, err, uuid.Nil, reply.ParsePaymentToken)
	if err != nil {
		return nil, err
	}
	return tokenMessage(&token), nil
}

// CreatePayment implements PaymentService.
func (d *Door) CreatePayment(ctx context.Context, r *paymentsv1.CreatePaymentRequest) (*paymentsv1.Payment, error) {
	answer, err := d.payments.CreatePayment(ctx, callOf(ctx), usecase.CreatePayment{
		Amount: r.Amount, Currency: r.Currency, PaymentToken: r.PaymentToken, Capture: captureText(r.GetCapture()), MerchantReference: r.MerchantReference,
		Description: r.Description, Metadata: metadataCommand(r.GetMetadata()),
	})
	payment, err := kept(ctx, answer, err, uuid.Nil, reply.ParsePayment)
	if err != nil {
		return nil, err
	}
	return paymentMessage(&payment), nil
}

// CapturePayment implements PaymentService.
func (d *Door) CapturePayment(ctx context.Context, r *paymentsv1.CapturePaymentRequest) (*paymentsv1.Payment, error) {
	answer, err := d.payments.CapturePayment(ctx, callOf(ctx), usecase.CapturePayment{ID: r.GetId(), Amount: r.Amount, Final: r.Final})
	asked, _ := domain.ParseID(domain.PrefixPayment, r.GetId())
	payment, err := kept(ctx, answer, err, asked, reply.ParsePayment)
	if err != nil {
		return nil, err
	}
	return paymentMessage(&payment), nil
}

// VoidPayment implements PaymentService.
func (d *Door) VoidPayment(ctx context.Context, r *paymentsv1.VoidPaymentRequest) (*paymentsv1.Payment, error) {
	answer, err := d.payments.VoidPayment(ctx, callOf(ctx), r.GetId())
	asked, _ := domain.ParseID(domain.PrefixPayment, r.GetId())
	payment, err := kept(ctx, answer, err, asked, reply.ParsePayment)
	if err != nil {
		return nil, err
	}
	return paymentMessage(&payment), nil
}

// GetPayment implements PaymentService.
func (d *Door) GetPayment(ctx context.Context, r *paymentsv1.GetPaymentRequest) (*paymentsv1.Payment, error) {
	payment, err := d.payments.GetPayment(ctx, callOf(ctx), r.GetId())
	if err != nil {
		return nil, err
	}
	return paymentMessage(&payment), nil
}

// CreateRefund implements PaymentService.
func (d *Door) CreateRefund(ctx context.Context, r *paymentsv1.CreateRefundRequest) (*paymentsv1.Refund, error) {
	answer, err := d.payments.CreateRefund(ctx, callOf(ctx), usecase.CreateRefund{ID: r.GetId(), Amount: r.Amount, Reason: r.Reason})
	asked, _ := domain.ParseID(domain.PrefixPayment, r.GetId())
	refund, err := kept(ctx, answer, err, asked, reply.ParseRefund)
	if err != nil {
		return nil, err
	}
	return refundMessage(&refund), nil
}

// GetRefund implements PaymentService.
func (d *Door) GetRefund(ctx context.Context, r *paymentsv1.GetRefundRequest) (*paymentsv1.Refund, error) {
	refund, err := d.payments.GetRefund(ctx, callOf(ctx), r.GetId())
	if err != nil {
		return nil, err
	}
	return refundMessage(&refund), nil
}

// ListPayments implements PaymentService.
func (d *Door) ListPayments(ctx context.Context, r *paymentsv1.ListPaymentsRequest) (*paymentsv1.ListPaymentsResponse, error) {
	list, err := d.payments.ListPayments(ctx, callOf(ctx), usecase.ListPayments{
		Page: pageOf(r.PageSize, r.PageToken), State: filterText(r.State, paymentStates), PaymentToken: r.PaymentToken,
	})
	if err != nil {
		return nil, err
	}
	return &paymentsv1.ListPaymentsResponse{Payments: messages(list.Data, paymentMessage), NextPageToken: list.Next}, nil
}

// ListRefunds implements PaymentService.
func (d *Door) ListRefunds(ctx context.Context, r *paymentsv1.ListRefundsRequest) (*paymentsv1.ListRefundsResponse, error) {
	list, err := d.payments.ListRefunds(ctx, callOf(ctx), usecase.ListRefunds{Page: pageOf(r.PageSize, r.PageToken), Payment: r.Payment})
	if err != nil {
		return nil, err
	}
	return &paymentsv1.ListRefundsResponse{Refunds: messages(list.Data, refundMessage), NextPageToken: list.Next}, nil
}

// GetBalances implements LedgerService.
func (d *Door) GetBalances(ctx context.Context, _ *paymentsv1.GetBalancesRequest) (*paymentsv1.GetBalancesResponse, error) {
	balances, err := d.payments.GetBalances(ctx, callOf(ctx))
	if err != nil {
		return nil, err
	}
	return &paymentsv1.GetBalancesResponse{Balances: messages(balances, balanceMessage)}, nil
}

// ListLedgerEntries implements LedgerService.
func (d *Door) ListLedgerEntries(ctx context.Context, r *paymentsv1.ListLedgerEntriesRequest) (*paymentsv1.ListLedgerEntriesResponse, error) {
	list, err := d.payments.ListLedgerEntries(ctx, callOf(ctx), usecase.ListLedgerEntries{
		Page: pageOf(r.PageSize, r.PageToken), Account: filterText(r.Account, accounts),
	})
	if err != nil {
		return nil, err
	}
	return &paymentsv1.ListLedgerEntriesResponse{Entries: messages(list.Data, entryMessage), NextPageToken: list.Next}, nil
}

// ListEvents implements EventService.
func (d *Door) ListEvents(ctx context.Context, r *paymentsv1.ListEventsRequest) (*paymentsv1.ListEventsResponse, error) {
	list, err := d.payments.ListEvents(ctx, callOf(ctx), usecase.ListEvents{Page: pageOf(r.PageSize, r.PageToken), Type: r.Type})
	if err != nil {
		return nil, err
	}
	events := make([]*paymentsv1.Event, len(list.Data))
	for i := range list.Data {
		if events[i], err = eventMessage(&list.Data[i]); err != nil {
			return nil, err
		}
	}
	return &paymentsv1.ListEventsResponse{Events: events, NextPageToken: list.Next}, nil
}

// CreateWebhookEndpoint implements WebhookService.
func (d *Door) CreateWebhookEndpoint(ctx context.Context, r *paymentsv1.CreateWebhookEndpointRequest) (*paymentsv1.WebhookEndpoint, error) {
	endpoint, err := d.payments.CreateWebhookEndpoint(ctx, callOf(ctx), r.Url)
	if err != nil {
		return nil, err
	}
	return endpointMessage(&endpoint), nil
}

// ListWebhookEndpoints implements WebhookService.
func (d *Door) ListWebhookEndpoints(ctx context.Context, r *paymentsv1.ListWebhookEndpointsRequest) (*paymentsv1.ListWebhookEndpointsResponse, error) {
	list, err := d.payments.ListWebhookEndpoints(ctx, callOf(ctx), pageOf(r.PageSize, r.PageToken))
	if err != nil {
		return nil, err
	}
	return &paymentsv1.ListWebhookEndpointsResponse{Endpoints: messages(list.Data, endpointMessage), NextPageToken: list.Next}, nil
}

// DeleteWebhookEndpoint implements WebhookService.
func (d *Door) DeleteWebhookEndpoint(ctx context.Context, r *paymentsv1.DeleteWebhookEndpointRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, d.payments.DeleteWebhookEndpoint(ctx, callOf(ctx), r.GetId())
}
