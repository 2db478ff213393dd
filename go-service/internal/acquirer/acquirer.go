// Package acquirer is the client of the card network: what it answers is Approved, Declined, Refused or Unknown. Whether to ask at all, and
// what an answer means for a payment, must never be decided here.
package acquirer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"twinpay.dev/payments/internal/domain"
	acquirerv1 "twinpay.dev/payments/internal/gen/acquirer/v1"
	"twinpay.dev/payments/internal/telemetry"
)

// Kind tells the network's answers apart.
type Kind int

// The kinds. Unknown: the answer was lost, so the operation may have been done.
const (
	Unknown Kind = iota
	Approved
	Declined // only a payment's first operation
	Refused  // only a later operation
)

// Outcome is what came of asking for an operation.
type Outcome struct {
	Kind   Kind
	Reason domain.DeclineReason // Declined; one that we know
	Cause  error                // Unknown
}

// Client asks the card network over one HTTP/2 connection.
type Client struct {
	conn      *grpc.ClientConn
	client    acquirerv1.AcquirerServiceClient
	telemetry *telemetry.Telemetry
}

// New makes a client; it connects when it is first used.
func New(addr string, t *telemetry.Telemetry) (*Client, error) {
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay, reconnect.MaxDelay = 100*time.Millisecond, time.Second // the default reaches two minutes after an outage
	conn, err := grpc.NewClient(addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDisableServiceConfig(),
	)
	if err != nil {
		return nil, err
	}
	return &Client{conn, acquirerv1.NewAcquirerServiceClient(conn), t}, nil
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// ProvisionToken replaces a card by the network's token. The number is sent once and kept by nothing here. An error of the deadline is a
// context.DeadlineExceeded.
func (c *Client) ProvisionToken(ctx context.Context, operationID uuid.UUID, card domain.Card) (string, error) {
	ctx, span := c.start(ctx, provisionToken)
	answer, err := c.client.ProvisionToken(ctx, &acquirerv1.ProvisionTokenRequest{
		OperationId: domain.FormatID(domain.PrefixOperation, operationID),
		CardNumber:  string(card.Number.Reveal()), ExpMonth: int32(card.ExpMonth), ExpYear: int32(card.ExpYear), Cvc: string(card.CVC.Reveal()),
	})
	end(span, err)
	if status.Code(err) == codes.DeadlineExceeded {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err) // the network may notice before our own clock does
	}
	if err == nil && answer.GetNetworkToken() == "" {
		err = errors.New("the card network answered an empty token")
	}
	return answer.GetNetworkToken(), err
}

// Ask asks for an operation that moves an amount; under the same id the network gives the same answer again.
func (c *Client) Ask(ctx context.Context, operationID uuid.UUID, kind domain.OperationKind, networkToken string, amount int64, currency domain.Currency) Outcome {
	id := domain.FormatID(domain.PrefixOperation, operationID)
	var answer interface{ GetResult() *acquirerv1.Result }
	var err error
	var span trace.Span
	switch kind {
	case domain.KindAuthorize:
		ctx, span = c.start(ctx, authorize)
		answer, err = c.client.Authorize(ctx, &acquirerv1.AuthorizeRequest{OperationId: id, NetworkToken: networkToken, Amount: amount, Currency: string(currency)})
	case domain.KindSale:
		ctx, span = c.start(ctx, sale)
		answer, err = c.client.Sale(ctx, &acquirerv1.SaleRequest{OperationId: id, NetworkToken: networkToken, Amount: amount, Currency: string(currency)})
	case domain.KindCapture:
		ctx, span = c.start(ctx, capture)
		answer, err = c.client.Capture(ctx, &acquirerv1.CaptureRequest{OperationId: id, NetworkToken: networkToken, Amount: amount, Currency: string(currency)})
	case domain.KindVoid:
		ctx, span = c.start(ctx, void)
		answer, err = c.client.Void(ctx, &acquirerv1.VoidRequest{OperationId: id, NetworkToken: networkToken, Amount: amount, Currency: string(currency)})
	case domain.KindRefund:
		ctx, span = c.start(ctx, refund)
		answer, err = c.client.Refund(ctx, &acquirerv1.RefundRequest{OperationId: id, NetworkToken: networkToken, Amount: amount, Currency: string(currency)})
	default:
		return Outcome{Cause: fmt.Errorf("the card network has no operation %q", kind)}
	}
	end(span, err)
	if err != nil {
		return Outcome{Cause: err}
	}
	return outcome(kind, answer.GetResult())
}

// outcome is what an answer to an operation of the kind says. One that doesn't fit the kind is unknown: better to ask again than to guess
// about money.
func outcome(kind domain.OperationKind, r *acquirerv1.Result) Outcome {
	reason, known := declineReasons[r.GetDeclineReason()]
	switch answer := r.GetOutcome(); {
	case answer == acquirerv1.Outcome_OUTCOME_APPROVED:
		return Outcome{Kind: Approved}
	case answer == acquirerv1.Outcome_OUTCOME_DECLINED && known && kind.First():
		return Outcome{Kind: Declined, Reason: reason}
	case answer == acquirerv1.Outcome_OUTCOME_REFUSED && !kind.First():
		return Outcome{Kind: Refused}
	}
	return Outcome{Cause: fmt.Errorf("the card network answered %s, %s to an operation %q", r.GetOutcome(), r.GetDeclineReason(), kind)}
}

var declineReasons = map[acquirerv1.DeclineReason]domain.DeclineReason{
	acquirerv1.DeclineReason_DECLINE_REASON_INSUFFICIENT_FUNDS: domain.DeclineInsufficientFunds,
	acquirerv1.DeclineReason_DECLINE_REASON_DO_NOT_HONOR:       domain.DeclineDoNotHonor,
	acquirerv1.DeclineReason_DECLINE_REASON_EXPIRED_CARD:       domain.DeclineExpiredCard,
	acquirerv1.DeclineReason_DECLINE_REASON_INCORRECT_CVC:      domain.DeclineIncorrectCVC,
	acquirerv1.DeclineReason_DECLINE_REASON_LOST_OR_STOLEN:     domain.DeclineLostOrStolen,
	acquirerv1.DeclineReason_DECLINE_REASON_PROCESSING_ERROR:   domain.DeclineProcessingError,
}

// call is what all spans of one rpc have in common.
type call struct {
	name    string
	options []trace.SpanStartOption
}

var (
	provisionToken = newCall(acquirerv1.AcquirerService_ProvisionToken_FullMethodName)
	authorize      = newCall(acquirerv1.AcquirerService_Authorize_FullMethodName)
	sale           = newCall(acquirerv1.AcquirerService_Sale_FullMethodName)
	capture        = newCall(acquirerv1.AcquirerService_Capture_FullMethodName)
	void           = newCall(acquirerv1.AcquirerService_Void_FullMethodName)
	refund         = newCall(acquirerv1.AcquirerService_Refund_FullMethodName)
)

func newCall(fullMethod string) call {
	name := fullMethod[1:] // without the leading slash
	attributes := []attribute.KeyValue{telemetry.RPCSystem.String("grpc"), telemetry.RPCMethod.String(name)}
	return call{name, []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...)}}
}

// start starts the call's span and hands its traceparent on. The context's deadline goes along by itself.
func (c *Client) start(ctx context.Context, to call) (context.Context, trace.Span) {
	ctx, span := c.telemetry.Start(ctx, to.name, to.options...)
	if traceparent := telemetry.Traceparent(ctx); traceparent != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, telemetry.TraceparentHeader, traceparent)
	}
	return ctx, span
}

func end(span trace.Span, err error) {
	if span.IsRecording() {
		name := code.Code_name[int32(status.Code(err))]
		span.SetAttributes(telemetry.RPCStatus.String(name))
		if err != nil {
			telemetry.Fail(span, name)
		}
	}
	span.End()
}
