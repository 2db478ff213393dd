package grpcapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
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
	"twinpay.dev/payments/internal/reply"
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

// intercept observes a call from its arrival to its answer. Its message is yet to be read.
func (d *Door) intercept(ctx context.Context, message any, read func(any) error, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	arrived := time.Now()
	m := methods[info.FullMethod]
	if m == nil {
		if err := d.receive(ctx, arrived, read, message); err != nil {
			return nil, told(err)
		}
		return handler(ctx, message)
	}
	incoming, _ := metadata.FromIncomingContext(ctx)
	ctx, span := d.telemetry.StartServer(ctx, first(incoming.Get(telemetry.TraceparentHeader)), m.name, m.span...)
	defer span.End()
	_ = grpc.SetHeader(ctx, newRequestID()) // fails on a stream that has ended

	var answer any
	err := d.receive(ctx, arrived, strictly(read), message)
	if err == nil {
		answer, err = d.answer(ctx, m, incoming, arrived, message, handler)
	}
	if err != nil && errors.Is(ctx.Err(), context.Canceled) && !isAnswered(err) {
		d.telemetry.Log.DebugContext(ctx, "the client has gone", "rpc", m.name, "error", err)
		return nil, status.FromContextError(ctx.Err()).Err() // nobody is told anything, and nothing failed
	}
	rendered, failure := statusOf(err)
	d.report(ctx, m, rendered, failure, err, time.Since(arrived))
	if err != nil {
		return nil, rendered.Err()
	}
	return answer, nil
}

// receive reads the message of a call, which must be whole within the body's time and before the call's deadline. A read that is given up ends
// with its stream, which is soon: grpc-go's waits for the client as long as that.
func (d *Door) receive(ctx context.Context, arrived time.Time, read func(any) error, message any) error {
	received := make(chan error, 1)
	go func() { received <- read(message) }()
	until, reason := arrived.Add(d.bodyTimeout), domain.ReasonRequestTimeout
	if deadline := deadlineOf(ctx, arrived); deadline.Before(until) {
		until, reason = deadline, domain.ReasonDeadlineExceeded
	}
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case err := <-received:
		return err
	case <-late.C:
		return domain.NewError(reason)
	}
}

// strictly reads a message as ours are: one that can't be decoded is the client's fault.
func strictly(read func(any) error) func(any) error {
	return func(message any) error {
		tried := attempt{message: message}
		if err := read(&tried); err != nil {
			return answered{err}
		}
		if tried.failure != nil {
			return domain.Because(domain.ReasonMalformedBody, tried.failure)
		}
		return nil
	}
}

// answered is the library's error of a call that it has answered by itself, as one whose message is too large.
type answered struct{ error }

// isAnswered reports whether the library has answered a call by itself. Its context has then ended, as if the client had gone.
func isAnswered(err error) bool {
	theirs, ok := errors.AsType[answered](err)
	return ok && status.Code(theirs.error) != codes.Canceled
}

// deadlineOf is until when a call may take: what its client says, less the time for the answer, or the default.
func deadlineOf(ctx context.Context, arrived time.Time) time.Time {
	timeout := usecase.DefaultTimeout
	if deadline, ok := ctx.Deadline(); ok {
		left := deadline.Sub(arrived)
		timeout = min(left-min(left/10, answerMargin), usecase.MaxTimeout)
	}
	return arrived.Add(timeout)
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
func (d *Door) answer(ctx context.Context, m *method, incoming metadata.MD, arrived time.Time, message any, handler grpc.UnaryHandler) (answer any, err error) {
	ctx, cancel := context.WithDeadline(ctx, deadlineOf(ctx, arrived))
	defer cancel()
	err = recovered(func() error {
		call, err := d.admit(ctx, m, incoming)
		if err == nil {
			answer, err = handler(context.WithValue(ctx, callKey{}, call), message)
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
	if failure != nil && reply.Problems[failure.Reason].Status >= http.StatusInternalServerError {
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
