package grpcapi

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

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
}

// Door answers gRPC calls.
type Door struct {
	paymentsv1.UnimplementedAdminServiceServer
	paymentsv1.UnimplementedVaultServiceServer
	paymentsv1.UnimplementedPaymentServiceServer

	payments  *usecase.Payments
	auth      *usecase.Authenticator
	telemetry *telemetry.Telemetry
	health    *health.Server
	draining  context.Context
	drain     context.CancelFunc
}

// New makes the door; its health is not serving until it is told to.
func New(payments *usecase.Payments, auth *usecase.Authenticator, t *telemetry.Telemetry) *Door {
	d := &Door{payments: payments, auth: auth, telemetry: t, health: health.NewServer()}
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
		grpc.UnaryInterceptor(d.intercept),
		grpc.StreamInterceptor(d.interceptStream),
		grpc.UnknownServiceHandler(unknownMethod),
	)
	paymentsv1.RegisterAdminServiceServer(server, d)
	paymentsv1.RegisterVaultServiceServer(server, d)
	paymentsv1.RegisterPaymentServiceServer(server, d)
	healthv1.RegisterHealthServer(server, d.health)
	reflection.RegisterV1(server)
	return server
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
