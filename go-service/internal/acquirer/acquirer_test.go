package acquirer

import (
	"testing"

	"twinpay.dev/payments/internal/domain"
	acquirerv1 "twinpay.dev/payments/internal/gen/acquirer/v1"
)

func TestAnAnswerThatDoesntFitTheOperationIsUnknown(t *testing.T) {
	const (
		approved = acquirerv1.Outcome_OUTCOME_APPROVED
		declined = acquirerv1.Outcome_OUTCOME_DECLINED
		refused  = acquirerv1.Outcome_OUTCOME_REFUSED
		none     = acquirerv1.DeclineReason_DECLINE_REASON_UNSPECIFIED
		funds    = acquirerv1.DeclineReason_DECLINE_REASON_INSUFFICIENT_FUNDS
	)
	for _, c := range []struct {
		kind   domain.OperationKind
		answer acquirerv1.Outcome
		reason acquirerv1.DeclineReason
		want   Kind
	}{
		{domain.KindAuthorize, approved, none, Approved},
		{domain.KindSale, approved, none, Approved},
		{domain.KindCapture, approved, none, Approved},
		{domain.KindAuthorize, declined, funds, Declined},
		{domain.KindSale, declined, funds, Declined},
		{domain.KindCapture, refused, none, Refused},
		{domain.KindVoid, approved, none, Approved},
		{domain.KindVoid, refused, none, Refused},
		{domain.KindRefund, refused, none, Refused},
		{domain.KindAuthorize, declined, none, Unknown},
		{domain.KindSale, declined, 99, Unknown},
		{domain.KindCapture, declined, funds, Unknown},
		{domain.KindVoid, declined, funds, Unknown},
		{domain.KindRefund, declined, funds, Unknown},
		{domain.KindAuthorize, refused, none, Unknown},
		{domain.KindSale, refused, none, Unknown},
		{domain.KindSale, acquirerv1.Outcome_OUTCOME_UNSPECIFIED, none, Unknown},
		{domain.KindCapture, 99, none, Unknown},
	} {
		got := outcome(c.kind, &acquirerv1.Result{Outcome: c.answer, DeclineReason: c.reason})
		if got.Kind != c.want || (got.Cause != nil) != (c.want == Unknown) || got.Reason != "" != (c.want == Declined) {
			t.Errorf("%s answered %s, %s: got %+v", c.kind, c.answer, c.reason, got)
		}
	}
	if got := outcome(domain.KindSale, nil); got.Kind != Unknown {
		t.Errorf("no result: got %+v", got)
	}
}
