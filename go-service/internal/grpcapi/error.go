package grpcapi

import (
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/google/uuid"

	"twinpay.dev/payments/internal/domain"
	"twinpay.dev/payments/internal/reply"
)

// errorDomain is the domain of google.rpc.ErrorInfo.
const errorDomain = "payments.twinpay.dev"

// codeOf has a row for every reason that is said over gRPC; a unit test compares it with proto/errors.toml.
var codeOf = map[domain.Reason]codes.Code{
	domain.ReasonMalformedBody:           codes.InvalidArgument,
	domain.ReasonValidationFailed:        codes.InvalidArgument,
	domain.ReasonCurrencyUnsupported:     codes.InvalidArgument,
	domain.ReasonCardInvalid:             codes.InvalidArgument,
	domain.ReasonIdempotencyKeyMissing:   codes.InvalidArgument,
	domain.ReasonIdempotencyKeyInvalid:   codes.InvalidArgument,
	domain.ReasonUnauthenticated:         codes.Unauthenticated,
	domain.ReasonCardDeclined:            codes.FailedPrecondition,
	domain.ReasonRiskBlocked:             codes.FailedPrecondition,
	domain.ReasonOperationRefused:        codes.FailedPrecondition,
	domain.ReasonPermissionDenied:        codes.PermissionDenied,
	domain.ReasonResourceNotFound:        codes.NotFound,
	domain.ReasonRouteNotFound:           codes.Unimplemented,
	domain.ReasonPaymentStateInvalid:     codes.FailedPrecondition,
	domain.ReasonAmountExceedsCapturable: codes.FailedPrecondition,
	domain.ReasonAmountExceedsRefundable: codes.FailedPrecondition,
	domain.ReasonPaymentBusy:             codes.Aborted,
	domain.ReasonIdempotencyInProgress:   codes.Aborted,
	domain.ReasonDuplicateReference:      codes.AlreadyExists,
	domain.ReasonPayloadTooLarge:         codes.ResourceExhausted,
	domain.ReasonIdempotencyKeyReused:    codes.FailedPrecondition,
	domain.ReasonInternal:                codes.Internal,
	domain.ReasonOverloaded:              codes.Unavailable,
	domain.ReasonAcquirerUnavailable:     codes.Unavailable,
	domain.ReasonDeadlineExceeded:        codes.DeadlineExceeded,
	domain.ReasonOutcomeUnknown:          codes.DeadlineExceeded,
	domain.ReasonCursorInvalid:           codes.InvalidArgument,
	domain.ReasonRateLimited:             codes.ResourceExhausted,
	domain.ReasonRequestTimeout:          codes.DeadlineExceeded,
}

// statusOf renders an error. What isn't a domain error is internal: the client learns nothing of it.
func statusOf(err error) (*status.Status, *domain.Error) {
	if err == nil {
		return status.New(codes.OK, ""), nil
	}
	if theirs, ok := errors.AsType[answered](err); ok {
		return status.Convert(theirs.error), nil
	}
	var e *domain.Error
	if !errors.As(err, &e) {
		e = domain.NewError(domain.ReasonInternal)
	}
	kind := reply.Problems[e.Reason]
	plain := status.New(codeOf[e.Reason], kind.Detail)
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: string(e.Reason), Domain: errorDomain, Metadata: infoOf(e)}}
	if len(e.Violations) > 0 {
		details = append(details, badRequest(e.Violations))
	}
	if e.Reason == domain.ReasonPaymentStateInvalid {
		details = append(details, &errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{
			Type: "PAYMENT_STATE", Subject: domain.FormatID(domain.PrefixPayment, e.PaymentID), Description: string(e.CurrentState),
		}}})
	}
	if kind.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(kind.RetryAfter) * time.Second)})
	}
	detailed, err := plain.WithDetails(details...)
	if err != nil {
		return plain, e // only a status that is OK can't have details
	}
	return detailed, e
}

// told is the status of an error outside our methods, where the library's own stay.
func told(err error) error {
	if failure := (*domain.Error)(nil); !errors.As(err, &failure) {
		return err
	}
	rendered, _ := statusOf(err)
	return rendered.Err()
}

func infoOf(e *domain.Error) map[string]string {
	info := map[string]string{}
	if e.PaymentID != uuid.Nil {
		info["payment_id"] = domain.FormatID(domain.PrefixPayment, e.PaymentID)
	}
	if e.DeclineReason != "" {
		info["decline_reason"] = string(e.DeclineReason)
	}
	if e.CurrentState != "" {
		info["current_state"] = string(e.CurrentState)
	}
	if len(e.AllowedStates) > 0 {
		states := make([]string, len(e.AllowedStates))
		for i, state := range e.AllowedStates {
			states[i] = string(state)
		}
		info["allowed_states"] = strings.Join(states, ",")
	}
	return info
}

func badRequest(violations []domain.Violation) *errdetails.BadRequest {
	listed := reply.Listed(violations)
	fields := make([]*errdetails.BadRequest_FieldViolation, len(listed))
	for i, v := range listed {
		fields[i] = &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: reply.Describe(v), Reason: string(v.Reason)}
	}
	return &errdetails.BadRequest{FieldViolations: fields}
}
