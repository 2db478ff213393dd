package test

import (
	"testing"
	"time"
)

// eightDays is a day over the seven that an authorisation lasts.
const eightDays = 8 * 24 * time.Hour

func (s *service) expire(want int) {
	s.t.Helper()
	if got, err := s.app.Workers.Expiry.Step(s.t.Context()); err != nil || got != want {
		s.t.Fatalf("%d expired, %v; want %d", got, err, want)
	}
}

func TestWhatHasLapsedExpiresAndWhatWasCapturedStays(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	token := s.token(goodCard)
	untouched := s.must(201, s.post("a", "/v1/payments", paymentBody(token, "manual", "a"))).member("id")
	part := s.must(201, s.post("b", "/v1/payments", paymentBody(token, "manual", "b"))).member("id")
	s.must(200, s.post("c", "/v1/payments/"+part+"/capture", `{"amount":400}`))
	s.must(201, s.post("d", "/v1/payments", paymentBody(token, "automatic", "d")))
	s.expire(0)

	s.advance(eightDays)
	s.expire(2)
	s.expire(0)
	expired := `select count(*) from payments where expires_at is null and (state, captured) in (('expired', 0), ('captured', 400))`
	if got := query[int64](s, expired); got != 2 {
		t.Errorf("%d are as they should be", got)
	}
	told := `select count(*) from outbox where type = 'payment.expired' and operation_id is null
		and data::jsonb ->> 'state' in ('expired', 'captured') and not data::jsonb ? 'expires_at'`
	if got := query[int64](s, told); got != 2 {
		t.Errorf("%d events are as they should be", got)
	}
	late := s.refused(409, "PAYMENT_STATE_INVALID", s.post("e", "/v1/payments/"+untouched+"/capture", ""))
	if late.member("current_state") != "expired" {
		t.Errorf("got %s", late.body)
	}
}

func TestAPaymentWithAPendingOperationExpiresLater(t *testing.T) {
	t.Parallel()
	s := start(t, settings{})
	s.must(201, s.post("a", "/v1/payments", paymentBody(s.token(goodCard), "manual", "a")))
	s.execute("update payments set pending_operation_id = id")
	s.advance(eightDays)
	s.expire(0)
	s.execute("update payments set pending_operation_id = null")
	s.expire(1)
}
