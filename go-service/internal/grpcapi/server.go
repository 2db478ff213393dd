package grpcapi

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/internal/usecase"
)

// The limits of the door; grpc-go's default for streams is the largest number.
const (
	maxMessage           = 64 << 10
	maxHeader            = 16 << 10
	maxConcurrentStreams = 100
	handshakeTimeout     = 10 * time.Second
	idleTimeout          = 75 * time.Second
)

// services are those whose health is told, beside the server's own.
var services = []string{
	"", paymentsv1.AdminService_ServiceDesc.ServiceName, paymentsv1.VaultService_ServiceDesc.ServiceName, paymentsv1.PaymentService_ServiceDesc.ServiceName,
	paymentsv1.LedgerService_ServiceDesc.ServiceName,
	paymentsv1.EventService_ServiceDesc.ServiceName,
	paymentsv1.WebhookService_ServiceDesc.ServiceName,
}

// Door answers gRPC calls.
type Door struct {
	paymentsv1.UnimplementedAdminServiceServer
	paymentsv1.UnimplementedVaultServiceServer
	paymentsv1.UnimplementedPaymentServiceServer
	paymentsv1.UnimplementedLedgerServiceServer
	paymentsv1.UnimplementedEventServiceServer
	paymentsv1.UnimplementedWebhookServiceServer

	payments    *usecase.Payments
	auth        *usecase.Authenticator
	bodyTimeout time.Duration
	telemetry   *telemetry.Telemetry
	health      *health.Server
	draining    context.Context
	drain       context.CancelFunc
}

// New makes the door; its health is not serving until it is told to. bodyTimeout is how long a call's message may take after its head.
func New(payments *usecase.Payments, auth *usecase.Authenticator, bodyTimeout time.Duration, t *telemetry.Telemetry) *Door {
	d := &Door{payments: payments, auth: auth, bodyTimeout: bodyTimeout, telemetry: t, health: health.NewServer()}
	d.draining, d.drain = context.WithCancel(context.Background())
	d.setHealth(healthv1.HealthCheckResponse_NOT_SERVING)
	return d
}

// Server makes the server of the door, with all its limits.
func (d *Door) Server() *grpc.Server {
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxConcurrentStreams(maxConcurrentStreams),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true), // what moves money isn't cut off at the end of the process
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(proto.Name)}),
		grpc.StreamInterceptor(d.interceptStream),
		grpc.UnknownServiceHandler(unknownMethod),
	)
	d.register(server, paymentsv1.AdminService_ServiceDesc, d)
	d.register(server, paymentsv1.VaultService_ServiceDesc, d)
	d.register(server, paymentsv1.PaymentService_ServiceDesc, d)
	d.register(server, paymentsv1.LedgerService_ServiceDesc, d)
	d.register(server, paymentsv1.EventService_ServiceDesc, d)
	d.register(server, paymentsv1.WebhookService_ServiceDesc, d)
	d.register(server, healthv1.Health_ServiceDesc, d.health)
	reflection.RegisterV1(server)
	return server
}

// register has unary calls intercepted before their message is read, which grpc-go's own interceptors can't: it would wait for a message for ever,
// and answer one that can't be decoded by itself, as a fault of the server.
func (d *Door) register(server *grpc.Server, service grpc.ServiceDesc, implementation any) {
	service.Methods = slices.Clone(service.Methods)
	for i, method := range service.Methods {
		service.Methods[i].Handler = func(server any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			later := func(any) error { return nil }
			return method.Handler(server, ctx, later, func(ctx context.Context, message any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
				return d.intercept(ctx, message, read, info, handler)
			})
		}
	}
	server.RegisterService(&service, implementation)
}

// attempt is a message to decode whose failure is kept, not returned.
type attempt struct {
	message any
	failure error
}

// codec is that of protobuf, but for attempts.
type codec struct{ encoding.CodecV2 }

func (c codec) Unmarshal(data mem.BufferSlice, message any) error {
	if a, ok := message.(*attempt); ok {
		if a.failure = c.CodecV2.Unmarshal(data, a.message); a.failure == nil {
			if m, ok := a.message.(protobuf.Message); ok && mistyped(m.ProtoReflect()) {
				a.failure = errMistyped
			}
		}
		return nil
	}
	return c.CodecV2.Unmarshal(data, message)
}

var errMistyped = errors.New("a field has a value of another type")

// mistyped reports whether a field that the message knows came with another type's wire format, at any depth. Go's library keeps such a field
// with the unknown ones and goes on without it, so that a request would be done without a part of it.
func mistyped(m protoreflect.Message) bool {
	fields := m.Descriptor().Fields()
	for unknown := m.GetUnknown(); len(unknown) > 0; {
		number, _, length := protowire.ConsumeField(unknown)
		if length < 0 || fields.ByNumber(number) != nil {
			return true
		}
		unknown = unknown[length:]
	}
	found := false
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		found = field.Message() != nil && !field.IsMap() && !field.IsList() && mistyped(value.Message())
		return !found
	})
	return found
}

// Ready says that the services serve.
func (d *Door) Ready() { d.setHealth(healthv1.HealthCheckResponse_SERVING) }

// Drain says that they don't any more, and ends all streams.
func (d *Door) Drain() {
	d.health.Shutdown()
	d.drain()
}

func (d *Door) setHealth(s healthv1.HealthCheckResponse_ServingStatus) {
	for _, name := range services {
		d.health.SetServingStatus(name, s)
	}
}
