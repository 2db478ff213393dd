package domain

import (
	"reflect"
	"testing"
	"time"
)

var (
	t0 = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	t1 = t0.Add(time.Minute)
)

func payment(state PaymentState, authorized, captured int64) Payment {
	return Payment{ID: NewID(), Amount: 1000, Currency: USD, State: state, Authorized: authorized, Captured: captured, ExpiresAt: t0.Add(time.Hour), CreatedAt: t0, UpdatedAt: t0}
}

func refunded(n int64) Payment {
	p := payment(StateCaptured, 1000, 400)
	p.Refunded = n
	return p
}

func amount(n int64) *int64 { return &n }

func TestWhatIsDecidedFollowsFromStateAndCommand(t *testing.T) {
	cases := []struct {
		name    string
		payment Payment
		command Command
		amount  int64
		refused Reason
	}{
		{"a sale takes all", payment(StateProcessing, 0, 0), Command{Kind: KindSale}, 1000, ""},
		{"an authorisation takes all", payment(StateProcessing, 0, 0), Command{Kind: KindAuthorize}, 1000, ""},
		{"an authorised payment isn't authorised again", payment(StateAuthorized, 1000, 0), Command{Kind: KindAuthorize}, 0, ReasonPaymentStateInvalid},
		{"a capture without an amount takes what remains", payment(StatePartiallyCaptured, 1000, 400), Command{Kind: KindCapture, Final: true}, 600, ""},
		{"a capture takes its amount", payment(StateAuthorized, 1000, 0), Command{Kind: KindCapture, Amount: amount(1)}, 1, ""},
		{"a capture takes exactly what remains", payment(StatePartiallyCaptured, 1000, 400), Command{Kind: KindCapture, Amount: amount(600)}, 600, ""},
		{"a capture can't take more", payment(StatePartiallyCaptured, 1000, 400), Command{Kind: KindCapture, Amount: amount(601)}, 0, ReasonAmountExceedsCapturable},
		{"nothing is left to capture", payment(StateAuthorized, 1000, 1000), Command{Kind: KindCapture, Final: true}, 0, ReasonAmountExceedsCapturable},
		{"what is captured stays so", payment(StateCaptured, 1000, 1000), Command{Kind: KindCapture}, 0, ReasonPaymentStateInvalid},
		{"what is declined stays so", payment(StateDeclined, 0, 0), Command{Kind: KindCapture}, 0, ReasonPaymentStateInvalid},
		{"what is voided stays so", payment(StateVoided, 1000, 0), Command{Kind: KindCapture}, 0, ReasonPaymentStateInvalid},
		{"a void takes what remains", payment(StatePartiallyCaptured, 1000, 400), Command{Kind: KindVoid}, 600, ""},
		{"what is captured can't be voided", payment(StateCaptured, 1000, 400), Command{Kind: KindVoid}, 0, ReasonPaymentStateInvalid},
		{"what is processing can't be voided", payment(StateProcessing, 0, 0), Command{Kind: KindVoid}, 0, ReasonPaymentStateInvalid},
		{"a refund takes its amount", payment(StatePartiallyCaptured, 1000, 400), Command{Kind: KindRefund, Amount: amount(400)}, 400, ""},
		{"a refund without an amount takes what remains", refunded(100), Command{Kind: KindRefund}, 300, ""},
		{"a refund can't take more", refunded(100), Command{Kind: KindRefund, Amount: amount(301)}, 0, ReasonAmountExceedsRefundable},
		{"nothing is left to refund", refunded(400), Command{Kind: KindRefund}, 0, ReasonAmountExceedsRefundable},
		{"what is authorised can't be refunded", payment(StateAuthorized, 1000, 0), Command{Kind: KindRefund}, 0, ReasonPaymentStateInvalid},
		{"what is voided can't be refunded", payment(StateVoided, 1000, 0), Command{Kind: KindRefund}, 0, ReasonPaymentStateInvalid},
		{"what is processing can't be captured", payment(StateProcessing, 0, 0), Command{Kind: KindCapture}, 0, ReasonPaymentStateInvalid},
	}
	for _, c := range cases {
		got, refused := Decide(&c.payment, c.command)
		if refused == nil && c.refused != "" || refused != nil && refused.Reason != c.refused || got != c.amount {
			t.Errorf("%s: got %d, %v; want %d, %s", c.name, got, refused, c.amount, c.refused)
		}
	}
}

func TestWhatAnApprovalChanges(t *testing.T) {
	fees := Fees{BPS: 290, Fixed: 30}
	cases := []struct {
		name       string
		before     Payment
		command    Command
		amount     int64
		state      PaymentState
		authorized int64
		captured   int64
		expires    bool
		journal    []Entry
		events     []EventType
	}{
		{"sale", payment(StateProcessing, 0, 0), Command{Kind: KindSale}, 1000, StateCaptured, 1000, 1000, true,
			[]Entry{{AcquirerReceivable, 1000}, {MerchantPayable, -941}, {FeeIncome, -59}}, []EventType{EventPaymentAuthorized, EventPaymentCaptured}},
		{"authorisation", payment(StateProcessing, 0, 0), Command{Kind: KindAuthorize}, 1000, StateAuthorized, 1000, 0, true, nil, []EventType{EventPaymentAuthorized}},
		{"part", payment(StateAuthorized, 1000, 0), Command{Kind: KindCapture, Amount: amount(1)}, 1, StatePartiallyCaptured, 1000, 1, true,
			[]Entry{{AcquirerReceivable, 1}, {FeeIncome, -1}}, []EventType{EventPaymentCaptured}},
		{"final part", payment(StateAuthorized, 1000, 0), Command{Kind: KindCapture, Amount: amount(100), Final: true}, 100, StateCaptured, 1000, 100, false,
			[]Entry{{AcquirerReceivable, 100}, {MerchantPayable, -67}, {FeeIncome, -33}}, []EventType{EventPaymentCaptured}},
		{"rest", payment(StatePartiallyCaptured, 1000, 900), Command{Kind: KindCapture, Amount: amount(100)}, 100, StateCaptured, 1000, 1000, false,
			[]Entry{{AcquirerReceivable, 100}, {MerchantPayable, -67}, {FeeIncome, -33}}, []EventType{EventPaymentCaptured}},
		{"void", payment(StateAuthorized, 1000, 0), Command{Kind: KindVoid}, 1000, StateVoided, 1000, 0, false, nil, []EventType{EventPaymentVoided}},
		{"void of the rest", payment(StatePartiallyCaptured, 1000, 400), Command{Kind: KindVoid}, 600, StateCaptured, 1000, 400, false, nil,
			[]EventType{EventPaymentVoided}},
		{"refund", refunded(100), Command{Kind: KindRefund}, 300, StateCaptured, 1000, 400, true,
			[]Entry{{AcquirerReceivable, -300}, {MerchantPayable, 300}}, []EventType{EventRefundSucceeded}},
	}
	for _, c := range cases {
		got := Approve(c.before, c.command, c.amount, fees, t1)
		p := got.Payment
		if p.State != c.state || p.Authorized != c.authorized || p.Captured != c.captured || p.ExpiresAt.IsZero() == c.expires || p.UpdatedAt != t1 {
			t.Errorf("%s: the payment became %+v", c.name, p)
		}
		if want := c.before.Refunded; c.command.Kind == KindRefund && p.Refunded != want+c.amount || c.command.Kind != KindRefund && p.Refunded != want {
			t.Errorf("%s: %d is refunded", c.name, p.Refunded)
		}
		if !reflect.DeepEqual(got.Journal, c.journal) || !reflect.DeepEqual(got.Events, c.events) || !got.Succeeded || got.Refusal != nil {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
}

func TestWhatARefusalChanges(t *testing.T) {
	declined := Decline(payment(StateProcessing, 0, 0), 1000, DeclineDoNotHonor, t1)
	if p := declined.Payment; p.State != StateDeclined || p.DeclineReason != DeclineDoNotHonor || !p.ExpiresAt.IsZero() || p.UpdatedAt != t1 || declined.Amount != 1000 {
		t.Errorf("declined: %+v", p)
	}
	if r := declined.Refusal; r.Reason != ReasonCardDeclined || r.DeclineReason != DeclineDoNotHonor || r.Payment.State != StateDeclined {
		t.Errorf("declined: %+v", r)
	}
	blocked := Decline(payment(StateProcessing, 0, 0), 1000, DeclineRiskBlocked, t1)
	if r := blocked.Refusal; r.Reason != ReasonRiskBlocked || r.DeclineReason != "" || r.Payment.DeclineReason != DeclineRiskBlocked {
		t.Errorf("blocked: %+v", r)
	}
	before := payment(StateAuthorized, 1000, 0)
	refused := Refuse(before, KindCapture, 400, t1)
	before.UpdatedAt = t1
	if !reflect.DeepEqual(refused.Payment, before) || refused.Refusal.Reason != ReasonOperationRefused || len(refused.Journal) != 0 || refused.Amount != 400 {
		t.Errorf("refused: %+v", refused)
	}
	if refund := Refuse(before, KindRefund, 400, t1); refund.Events[0] != EventRefundFailed || refused.Events[0] != EventPaymentOperationFailed {
		t.Errorf("told %v and %v", refund.Events, refused.Events)
	}
}

func TestAnAuthorisationThatLapsesLeavesWhatWasCaptured(t *testing.T) {
	for _, c := range []struct {
		before Payment
		state  PaymentState
	}{{payment(StateAuthorized, 1000, 0), StateExpired}, {payment(StatePartiallyCaptured, 1000, 1), StateCaptured}} {
		want := c.before
		want.State, want.ExpiresAt, want.UpdatedAt = c.state, time.Time{}, t1
		if got := Expire(c.before, t1); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}
