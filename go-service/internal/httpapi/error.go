package httpapi

import (
	"errors"
	"strconv"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/reply"
)

// problem renders an error. What isn't a domain error is internal: the client learns nothing of it.
func problem(err error) response {
	var e *domain.Error
	if !errors.As(err, &e) {
		e = domain.NewError(domain.ReasonInternal)
	}
	kind := reply.Problems[e.Reason]
	r := response{status: kind.Status, body: reply.Problem(e), reason: string(e.Reason)}
	if kind.RetryAfter > 0 {
		r.header = map[string]string{"Retry-After": strconv.Itoa(kind.RetryAfter)}
	}
	if e.Reason == domain.ReasonUnauthenticated {
		r.header = map[string]string{"WWW-Authenticate": "Bearer"}
	}
	return r
}
