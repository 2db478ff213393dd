package grpcapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"twinpay.dev/payments/internal/domain"
	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/internal/usecase"
)

// The metadata of calls.
const (
	authorizationKey = "authorization"
	idempotencyKey   = "idempotency-key"
	requestIDKey     = "request-id"
	replayedKey      = "idempotency-replayed"
)

// answerMargin is how much earlier than the stream a call gives up, or a tenth where that is less: grpc-go resets a
// stream whose deadline is over, and an answer that says so must be on its way before, on a busy machine, too.
const answerMargin = 50 * time.Millisecond

// method is what holds for all calls of one method.
type method struct {
	name string // without the leading slash
	role usecase.Role
	key  usecase.KeyRule
	span []trace.SpanStartOption
}

func newMethod(fullMethod string, role usecase.Role, key usecase.KeyRule) *method {
	name := fullMethod[1:]
	attributes := []attribute.KeyValue{telemetry.RPCSystem.String("grpc"), telemetry.RPCMethod.String(name)}
	return &method{name, role, key, []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...)}}
}

// methods are all of ours; health and reflection are nobody's business.
var methods = map[string]*method{
	paymentsv1.AdminService_CreateMerchant_FullMethodName:     newMethod(paymentsv1.AdminService_CreateMerchant_FullMethodName, usecase.RoleAdmin, usecase.KeyOptional),
	paymentsv1.AdminService_CreateApiKey_FullMethodName:       newMethod(paymentsv1.AdminService_CreateApiKey_FullMethodName, usecase.RoleAdmin, usecase.KeyIgnored),
	paymentsv1.AdminService_RevokeApiKey_FullMethodName:       newMethod(paymentsv1.AdminService_RevokeApiKey_FullMethodName, usecase.RoleAdmin, usecase.KeyIgnored),
	paymentsv1.VaultService_GetPaymentToken_FullMethodName:    newMethod(paymentsv1.VaultService_GetPaymentToken_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
	paymentsv1.LedgerService_GetBalances_FullMethodName:       newMethod(paymentsv1.LedgerService_GetBalances_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
	paymentsv1.LedgerService_ListLedgerEntries_FullMethodName: newMethod(paymentsv1.LedgerService_ListLedgerEntries_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
	paymentsv1.VaultService_CreatePaymentToken_FullMethodName: newMethod(paymentsv1.VaultService_CreatePaymentToken_FullMethodName, usecase.RoleMerchant, usecase.KeyRequired),
	paymentsv1.PaymentService_CreatePayment_FullMethodName:    newMethod(paymentsv1.PaymentService_CreatePayment_FullMethodName, usecase.RoleMerchant, usecase.KeyRequired),
	paymentsv1.PaymentService_CapturePayment_FullMethodName:   newMethod(paymentsv1.PaymentService_CapturePayment_FullMethodName, usecase.RoleMerchant, usecase.KeyRequired),
	paymentsv1.PaymentService_VoidPayment_FullMethodName:      newMethod(paymentsv1.PaymentService_VoidPayment_FullMethodName, usecase.RoleMerchant, usecase.KeyRequired),
	paymentsv1.PaymentService_CreateRefund_FullMethodName:     newMethod(paymentsv1.PaymentService_CreateRefund_FullMethodName, usecase.RoleMerchant, usecase.KeyRequired),
	paymentsv1.PaymentService_GetRefund_FullMethodName:        newMethod(paymentsv1.PaymentService_GetRefund_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
	paymentsv1.PaymentService_GetPayment_FullMethodName:       newMethod(paymentsv1.PaymentService_GetPayment_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
	paymentsv1.PaymentService_ListPayments_FullMethodName:     newMethod(paymentsv1.PaymentService_ListPayments_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
	paymentsv1.PaymentService_ListRefunds_FullMethodName:      newMethod(paymentsv1.PaymentService_ListRefunds_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
	paymentsv1.EventService_ListEvents_FullMethodName:         newMethod(paymentsv1.EventService_ListEvents_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
	paymentsv1.EventService_WatchEvents_FullMethodName:        newMethod(paymentsv1.EventService_WatchEvents_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),

	paymentsv1.WebhookService_CreateWebhookEndpoint_FullMethodName: newMethod(paymentsv1.WebhookService_CreateWebhookEndpoint_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
	paymentsv1.WebhookService_ListWebhookEndpoints_FullMethodName:  newMethod(paymentsv1.WebhookService_ListWebhookEndpoints_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
	paymentsv1.WebhookService_DeleteWebhookEndpoint_FullMethodName: newMethod(paymentsv1.WebhookService_DeleteWebhookEndpoint_FullMethodName, usecase.RoleMerchant, usecase.KeyIgnored),
}

type callKey struct{}

// callOf is what the interceptor found out about a call.
func callOf(ctx context.Context) usecase.Call {
	call, _ := ctx.Value(callKey{}).(usecase.Call)
	return call
}

// intercept observes a call from its arrival to its answer.
func (d *Door) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	m := methods[info.FullMethod]
	if m == nil {
		return handler(ctx, request)
	}
	began := time.Now()
	incoming, _ := metadata.FromIncomingContext(ctx)
	ctx, span := d.telemetry.StartServer(ctx, first(incoming.Get(telemetry.TraceparentHeader)), m.name, m.span...)
	defer span.End()
	_ = grpc.SetHeader(ctx, newRequestID()) // fails on a stream that has ended

	answer, err := d.answer(ctx, m, incoming, request, handler)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		d.telemetry.Log.DebugContext(ctx, "the client has gone", "rpc", m.name, "error", err)
		return nil, status.FromContextError(ctx.Err()).Err() // nobody is told anything, and nothing failed
	}
	rendered, failure := statusOf(err)
	d.report(ctx, m, rendered, failure, err, time.Since(began))
	if err != nil {
		return nil, rendered.Err()
	}
	return answer, nil
}

// report tells span, metrics and log what became of a call; a status that the library has made has no failure.
func (d *Door) report(ctx context.Context, m *method, rendered *status.Status, failure *domain.Error, err error, took time.Duration) {
	span := trace.SpanFromContext(ctx)
	name := code.Code_name[int32(rendered.Code())]
	reason := ""
	if failure != nil {
		reason = string(failure.Reason)
	}
	attributes := []attribute.KeyValue{telemetry.RPCSystem.String("grpc"), telemetry.RPCMethod.String(m.name), telemetry.RPCStatus.String(name)}
	if serverFault(rendered.Code()) {
		telemetry.Fail(span, cmp.Or(reason, name))
		attributes = append(attributes, telemetry.ErrorType.String(cmp.Or(reason, name)))
	}
	if span.IsRecording() {
		span.SetAttributes(telemetry.RPCStatus.String(name))
		if reason != "" {
			span.SetAttributes(telemetry.Reason.String(reason))
		}
	}
	d.telemetry.RPCDuration.Record(ctx, took.Seconds(), metric.WithAttributeSet(attribute.NewSet(attributes...)))
	d.log(ctx, m, rendered.Code(), name, failure, err, took)
}

// answer does the checks in the order of the contract, then what the method does.
func (d *Door) answer(ctx context.Context, m *method, incoming metadata.MD, request any, handler grpc.UnaryHandler) (answer any, err error) {
	if broken, ok := request.(undecodable); ok {
		return nil, domain.Because(domain.ReasonMalformedBody, broken)
	}
	timeout := usecase.DefaultTimeout
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		timeout = min(left-min(left/10, answerMargin), usecase.MaxTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = recovered(func() error {
		call, err := d.admit(ctx, m, incoming)
		if err == nil {
			answer, err = handler(context.WithValue(ctx, callKey{}, call), request)
		}
		return err
	})
	return answer, err
}

// admit finds out whose call it is and under which key.
func (d *Door) admit(ctx context.Context, m *method, incoming metadata.MD) (usecase.Call, error) {
	merchantID, err := d.auth.Authenticate(ctx, m.role, incoming.Get(authorizationKey))
	if err != nil {
		return usecase.Call{}, err
	}
	if ctx.Err() != nil {
		return usecase.Call{}, domain.Because(domain.ReasonDeadlineExceeded, ctx.Err())
	}
	key, err := usecase.ParseKey(m.key, incoming.Get(idempotencyKey))
	return usecase.Call{MerchantID: merchantID, Key: key}, err
}

// recovered takes a panic for an internal error.
func recovered(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return work()
}

func newRequestID() metadata.MD {
	return metadata.Pairs(requestIDKey, domain.FormatID(domain.PrefixRequest, domain.NewID()))
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// serverFault says which codes the semantic conventions count against a server.
func serverFault(c codes.Code) bool {
	switch c {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true
	}
	return false
}

// log says what failed here, once; what a client did wrong is its own business.
func (d *Door) log(ctx context.Context, m *method, c codes.Code, name string, failure *domain.Error, err error, took time.Duration) {
	if serverFault(c) && failure != nil {
		level := slog.LevelError
		if failure.Reason == domain.ReasonOverloaded {
			level = slog.LevelWarn // shed, as it should be
		}
		d.telemetry.Log.LogAttrs(ctx, level, "request failed", slog.String("rpc", m.name), slog.String("status", name),
			slog.String("reason", string(failure.Reason)), telemetry.Cause(err))
	}
	if d.telemetry.Log.Enabled(ctx, slog.LevelDebug) {
		d.telemetry.Log.LogAttrs(ctx, slog.LevelDebug, "request", slog.String("rpc", m.name), slog.String("status", name),
			slog.Float64("duration_ms", telemetry.Milliseconds(took)))
	}
}

// unknownMethod answers what no service knows.
func unknownMethod(_ any, stream grpc.ServerStream) error {
	_ = stream.SetHeader(newRequestID()) // fails on a stream that has ended
	rendered, _ := statusOf(domain.NewError(domain.ReasonRouteNotFound))
	return rendered.Err()
}
