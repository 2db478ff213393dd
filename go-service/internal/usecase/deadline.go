package usecase

import (
	"context"
	"strconv"
	"time"

	"twinpay.dev/payments/internal/domain"
)

// How long a request may take where its client says nothing, and at most.
const (
	DefaultTimeout = 10 * time.Second
	MaxTimeout     = 30 * time.Second
)

// TimeoutHeader is the HTTP header that says how long the client waits, in milliseconds. gRPC has its own.
const TimeoutHeader = "Request-Timeout-Ms"

// maxTimeoutDigits keeps the number within an int.
const maxTimeoutDigits = 9

// ParseTimeout reads the header's values.
func ParseTimeout(values []string) (time.Duration, error) {
	if len(values) == 0 {
		return DefaultTimeout, nil
	}
	malformed := &domain.Error{
		Reason:     domain.ReasonValidationFailed,
		Violations: []domain.Violation{{Field: TimeoutHeader, Reason: domain.Malformed}},
	}
	if len(values) > 1 || len(values[0]) > maxTimeoutDigits {
		return DefaultTimeout, malformed
	}
	milliseconds, err := strconv.ParseUint(values[0], 10, 32)
	if err != nil {
		return DefaultTimeout, malformed
	}
	if milliseconds == 0 {
		return DefaultTimeout, domain.NewError(domain.ReasonDeadlineExceeded)
	}
	return min(time.Duration(milliseconds)*time.Millisecond, MaxTimeout), nil
}

// detached keeps the deadline and the trace, but not the cancellation: an operation that moves money runs on when its client goes away.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(DefaultTimeout)
	}
	return context.WithDeadline(context.WithoutCancel(ctx), deadline)
}
