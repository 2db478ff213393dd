package grpcapi

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	paymentsv1 "twinpay.dev/payments/internal/gen/payments/v1"
	"twinpay.dev/payments/internal/telemetry"
	"twinpay.dev/payments/internal/usecase"
)

func TestAPanicIsAnInternalErrorThatShowsNothing(t *testing.T) {
	var logs bytes.Buffer
	told, err := telemetry.New(t.Context(), "", nil, &logs)
	if err != nil {
		t.Fatal(err)
	}
	const token = "token-of-the-administrator"
	door := New(nil, usecase.NewAuthenticator(nil, token, usecase.NewRateLimit(0, 1), nil), time.Minute, told)
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(authorizationKey, "Bearer "+token))
	read := func(any) error { return nil }
	_, err = door.intercept(ctx, nil, read, &grpc.UnaryServerInfo{FullMethod: paymentsv1.AdminService_CreateMerchant_FullMethodName},
		func(context.Context, any) (any, error) { panic("hunter2") })
	if got := status.Convert(err); got.Code() != codes.Internal || strings.Contains(got.Proto().String(), "hunter2") || !strings.Contains(got.Proto().String(), "INTERNAL") {
		t.Errorf("got %v", got.Proto())
	}
	if !strings.Contains(logs.String(), "panic: hunter2") {
		t.Errorf("logs: %s", &logs)
	}
}
