package test

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// differences are between what every reader sees of balances and the entries.
const differences = `with shown as (select account, sum(amount) as amount from (select account, amount from balances union all
	select e.account, e.amount from ledger_tail t join ledger_entries e using (merchant_id, operation_id)) as parts
	group by account), folded as (select account, sum(amount) as amount from ledger_entries group by account)
	select count(*) from shown s full join folded f using (account) where s.amount is distinct from f.amount`

func TestBalancesAreTheFoldOfTheEntriesForEveryReaderWhileBothGrow(t *testing.T) {
	t.Parallel()
	const sellers, sales = 3, 12
	s := start(t, settings{})
	token := s.token(goodCard)
	var group, selling sync.WaitGroup
	for seller := range sellers {
		selling.Go(func() {
			for n := range sales {
				reference := fmt.Sprintf("%d-%d", seller, n)
				s.must(201, s.post(reference, "/v1/payments", paymentBody(token, "automatic", reference)))
			}
		})
	}
	sold := make(chan struct{})
	go func() { selling.Wait(); close(sold) }()
	folded := make(chan int, 2)
	for range cap(folded) {
		group.Go(func() {
			total := 0
			for done := false; ; {
				did, err := s.app.Workers.RollUp.Step(t.Context())
				if total += did; err != nil || done && did == 0 {
					if err != nil {
						t.Error(err)
					}
					folded <- total
					return
				}
				select {
				case <-sold:
					done = true
				default:
				}
			}
		})
	}
	group.Go(func() {
		for read := 0; ; read++ {
			if got := query[int64](s, differences); got != 0 {
				t.Errorf("%d accounts differ", got)
			}
			select {
			case <-sold:
				if read == 0 {
					t.Error("nothing was read meanwhile")
				}
				return
			default:
			}
		}
	})
	group.Wait()
	if got := <-folded + <-folded; got != sellers*sales {
		t.Errorf("%d journals were folded, want %d", got, sellers*sales)
	}
	if got := query[int64](s, "select count(*) from ledger_tail"); got != 0 {
		t.Errorf("%d journals are left", got)
	}
	if got := query[int64](s, "select sum(amount)::bigint from balances where account = 'acquirer_receivable'"); got != sellers*sales*1000 {
		t.Errorf("the balance is %d", got)
	}
	if got := query[int64](s, differences); got != 0 {
		t.Errorf("%d accounts differ", got)
	}
}

// sweep makes one step of the sweep, and checks how many keys it forgot.
func (s *service) sweep(want int) {
	s.t.Helper()
	if got, err := s.app.Workers.Sweep.Step(s.t.Context()); err != nil || got != want {
		s.t.Errorf("the sweep forgot %d, %v; want %d", got, err, want)
	}
}

func TestAKeyIsForgottenAfterItsTimeUnlessItsOperationIsPending(t *testing.T) {
	t.Parallel()
	s := start(t, settings{env: map[string]string{"KEY_HOURS": "2"}})
	s.refused(504, "OUTCOME_UNKNOWN", s.post("pending", "/v1/payments", paymentBody(s.token("4000000000003063"), "automatic", "p")))
	body := paymentBody(s.token(goodCard), "automatic", "d")
	s.must(201, s.post("done", "/v1/payments", body))
	s.awaitReleased(1)

	s.advance(2*time.Hour - time.Minute)
	s.sweep(0)
	if again := s.must(201, s.post("done", "/v1/payments", body)); again.header.Get("Idempotency-Replayed") != "true" {
		t.Error("the key is still remembered")
	}
	s.advance(time.Minute)
	s.sweep(3) // two tokens and a payment
	s.sweep(0)
	if left := query[string](s, "select string_agg(key, ',') from idempotency_keys"); left != "pending" {
		t.Errorf("left: %s", left)
	}
	if left := query[int64](s, "select count(*) from idempotency_replies"); left != 0 {
		t.Errorf("%d replies are left", left)
	}
	s.refused(409, "DUPLICATE_REFERENCE", s.post("done", "/v1/payments", body)) // the key is free, the payment is there

	s.recover(1)
	s.sweep(1) // settled, and old
}
